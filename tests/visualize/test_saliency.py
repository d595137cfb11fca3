"""Saliency against autograd, against Captum where it is right and an oracle where it is not, and against the papers."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from blockprop import Network, Sequential, from_torch, pretrained, with_preprocessing
from blockprop.blocks import Clamp, Conv2d, Flatten, GlobalAvgPool, Linear, ReLU, SiLU
from blockprop.errors import BlockpropError, GraphError, SettingError, ShapeError
from blockprop.visualize import saliency, sanity
from blockprop.visualize.attribution.methods import METHODS
from tests.architectures.squeezenet import SqueezeNet
from tests.conftest import DataFile
from tests.rules import rule_oracle
from tests.tensor_peak import tensor_peak
from tests.visualize.explained import class_score, close, imported, living
from tests.visualize.saliency_oracle import ORACLES, small

CLASSIFIERS = [
    *("alexnet", "vgg16", "googlenet", "inception_v3", "squeezenet1_1", "resnet18", "densenet121"),
    *("mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit"),
]


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=str)
def test_gradient_equals_autograd(name: str, dtype: torch.dtype, tolerance: float) -> None:
    module, network, x = imported(name, dtype)
    expected, _ = rule_oracle.gradient(module, x, class_score(2))
    seen = saliency(network, x, 2)
    if name == "mobilenet_v3_large":
        tolerance = max(tolerance, 1e-7)  # torch's hard sigmoid has 1/6 as a float32, for float64, too
    scale = float(expected.abs().max())
    assert seen.attribution.dtype == dtype
    torch.testing.assert_close(seen.attribution, expected, rtol=0, atol=tolerance * scale)
    torch.testing.assert_close(seen.map, expected.abs().amax(1), rtol=0, atol=tolerance * scale)
    times = saliency(network, x, 2, "gradient_times_input").attribution
    torch.testing.assert_close(times, expected * x, rtol=0, atol=tolerance * float((expected * x).abs().max()))


def test_top_looks_at_each_pictures_own_class() -> None:
    module, network, x = imported("resnet18")
    expected, _ = rule_oracle.gradient(module, x, lambda y: y.amax(1).sum())
    seen = saliency(network, x)
    torch.testing.assert_close(seen.attribution, expected, rtol=1e-9, atol=1e-12)
    assert seen.targets == [str(number) for number in module(x).argmax(1).tolist()]


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_in_a_batch_is_explained_as_alone(method: str) -> None:
    network, x = small()
    batch = saliency(network, x, "top", method)
    for i in range(len(x)):
        alone = saliency(network, x[i : i + 1], "top", method)
        torch.testing.assert_close(alone.map[0], batch.map[i], rtol=1e-9, atol=1e-15)
        torch.testing.assert_close(alone.attribution[0], batch.attribution[i], rtol=1e-9, atol=1e-15)
        assert alone.targets == batch.targets[i : i + 1]


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_pictures(method: str) -> None:
    network, x = small()
    seen = saliency(network, x, 1, method, seed=3)
    assert seen.map.shape == (3, 20, 16)
    assert seen.attribution.shape[2:] == (20, 16)
    assert seen.method == method
    assert not seen.map.requires_grad
    if method not in ("gradient_times_input", "integrated_gradients"):
        assert float(seen.map.min()) >= 0


def test_each_method_has_a_slow_version_and_a_line_in_the_documentation() -> None:
    missing = METHODS.keys() - ORACLES.keys()
    assert not missing, f"write {', '.join(missing)} slowly, from the paper, in tests/visualize/saliency_oracle.py"
    assert ORACLES.keys() <= METHODS.keys()
    assert all(f"    {name}: {method.text}\n" in saliency.__doc__ for name, method in METHODS.items())


@pytest.mark.parametrize("method", ORACLES)
def test_as_in_the_paper(method: str) -> None:
    network, x = small()
    oracle, settings = ORACLES[method]
    attribution, map_ = oracle(network, x, 1)
    seen = saliency(network, x, 1, method, **settings)
    tolerance = 1e-2 if method == "integrated_gradients" else 1e-9  # kinks between the steps of either integral
    close(seen.attribution, attribution, tolerance)
    close(seen.map, map_, tolerance)


def test_another_seed_is_other_noise() -> None:
    network, x = small()
    one, other = (saliency(network, x, 1, "smooth_grad", samples=6, sigma=0.2, seed=seed) for seed in (7, 8))
    assert not torch.equal(other.map, one.map)


def test_smooth_grad_decides_the_target_on_the_picture_itself() -> None:
    network, x = small()
    number = int(network(x[:1]).argmax())
    noisy = {"samples": 4, "sigma": 3.0}
    top, fixed = (saliency(network, x[:1], target, "smooth_grad", **noisy) for target in ("top", number))
    assert torch.equal(top.map, fixed.map)


def test_grad_cam_looks_at_the_last_node_with_places() -> None:
    network, x = small()
    assert torch.equal(saliency(network, x, 1, "grad_cam").map, saliency(network, x, 1, "grad_cam", node="relu2").map)


def test_the_integral_is_complete() -> None:
    network, x = small()
    for baseline in ("black", "gray", "blur"):
        seen = saliency(network, x, 1, "integrated_gradients", steps=400, baseline=baseline)
        assert float(seen.residual.abs().max()) < 1e-2 * float(seen.attribution.abs().sum((1, 2, 3)).min())
    smooth = Sequential(Conv2d(3, 2, 3), SiLU(), Flatten(), Linear(2 * 18 * 14, 3)).to(dtype=torch.float64)
    assert float(saliency(smooth, x, 1, "integrated_gradients").residual.abs().max()) < 1e-12


def test_rules_combine_with_methods() -> None:
    network, x = small()
    both = saliency(network, x, 1, "smooth_grad", samples=3, rules="guided")
    assert str(both.coverage) == "guided: replaced 2 of 2 nodes that rectify or gate"
    own = {Conv2d: lambda block, saved, d_y: tuple(-d for d in block.propagate(saved, d_y))}
    turned = saliency(network, x, 1, "guided", rules=own)  # both convolutions turn the sign of the error
    assert len(turned.coverage.replaced) == 4
    assert not torch.equal(turned.attribution, saliency(network, x, 1, "guided").attribution)
    linear = {Linear: lambda block, saved, d_y: tuple(3 * d for d in block.propagate(saved, d_y))}
    close(saliency(network, x, 1, rules=linear).attribution, 3 * saliency(network, x, 1).attribution)


def test_a_target_that_nothing_can_influence() -> None:
    network = Sequential(Conv2d(3, 2, 3), ReLU(), GlobalAvgPool())
    network.blocks["conv2d1"].bias.copy_(torch.tensor([-100.0, 1.0]))
    x = torch.rand(2, 3, 8, 8)
    for method in METHODS.keys() - {"deconvnet"}:  # which does not ask whether a ReLU was open
        with pytest.raises(SettingError, match=r"cannot influence '0' in picture 1, 2 of 2: the gradient is zero"):
            saliency(network, x, 0, method, **({"samples": 2} if "smooth" in method else {}))
    with pytest.raises(SettingError, match=r"score\('one'\) does not depend on the input 'x'"):
        saliency(constant_beside(), x, "one")


def constant_beside() -> Network:
    from blockprop.blocks import Constant
    from blockprop.engine.plan import Node

    return Network([Node("one", Constant((1, 3)), ()), Node("relu", ReLU(), ("x",))])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": torch.zeros(3, 8, 8)}, ShapeError, r"expected pictures \(n, channels, h, w\)"),
        ({"image": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, ShapeError, "of real numbers"),
        ({"image": torch.zeros(0, 3, 8, 8)}, ShapeError, "expected pictures"),
        ({"image": torch.full((1, 3, 20, 16), torch.nan)}, ShapeError, "not finite"),
        ({"image": [1.0]}, ShapeError, "came a list"),
        ({"method": "guded"}, SettingError, "no method 'guded'; did you mean 'guided'"),
        ({"method": "smooth_grad", "sample": 3}, SettingError, "no setting 'sample'; did you mean 'samples'"),
        ({"method": "smooth_grad", "samples": 0}, SettingError, "samples must be at least 1"),
        ({"method": "smooth_grad", "sigma": 0.0}, SettingError, "sigma above 0"),
        ({"method": "integrated_gradients", "steps": 0}, SettingError, "steps must be"),
        ({"method": "integrated_gradients", "baseline": "white"}, SettingError, "baseline must be black, gray, blur"),
        ({"method": "integrated_gradients", "baseline": torch.ones(7)}, ShapeError, "a baseline of 7 does not fit"),
        ({"method": "grad_cam", "node": "relu3"}, GraphError, "no node 'relu3'; .*did you mean 'relu"),
        ({"method": "grad_cam", "node": "flatten1"}, SettingError, "needs a node with channels, height and width"),
        ({"method": "grad_cam", "rules": "guided"}, SettingError, "grad_cam takes no rules"),
        ({"rules": "guidde"}, SettingError, "no rules 'guidde'; did you mean 'guided'"),
        ({"target": "goose"}, SettingError, "no class and no node 'goose'"),
    ],
    ids=repr,
)
def test_what_is_refused(arguments: dict[str, Any], error: type[BlockpropError], message: str) -> None:
    network, x = small()
    with pytest.raises(error, match=message):
        saliency(network, **{"image": x, "target": 1} | arguments)


def test_strict_refuses_what_rules_do_not_cover() -> None:
    network = Sequential(Conv2d(3, 2, 3), ReLU(), SiLU(), Clamp(0, 6), GlobalAvgPool())
    x = torch.rand(1, 3, 8, 8)
    assert str(saliency(network, x, 0, "guided").coverage).startswith("guided: replaced 2 of 3")
    with pytest.raises(GraphError, match="silu1"):
        saliency(network, x, 0, "guided", strict=True)
    assert saliency(network, x, "relu1:0", "guided", strict=True).coverage.complete  # nothing above the target counts


def test_no_weights_gradient_and_nothing_beyond_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = small()
    beyond = network.blocks["linear1"]
    monkeypatch.setattr(Conv2d, "gradients", lambda *_: pytest.fail("a weight's gradient was computed"))
    monkeypatch.setattr(beyond, "forward", lambda *_: pytest.fail("forward went beyond the target"), raising=False)
    for method in METHODS:
        saliency(network, x, "relu2", method, **({"node": "relu1"} if "cam" in method else {}))


def test_the_network_stays_as_it_is() -> None:
    network, x = small()
    before, picture = {name: tensor.clone() for name, tensor in network.state.items()}, x.clone()
    for method in METHODS:
        saliency(network, x, 1, method)
    list(sanity(network, x, 1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())
    assert torch.equal(x, picture)


def steady_peak(function: Callable[[], object]) -> int:
    """Of a call that is not the first."""
    function()
    return tensor_peak(function)


@pytest.mark.parametrize("method", ["smooth_grad", "smooth_grad_squared", "integrated_gradients"])
def test_samples_cost_no_memory(method: str) -> None:
    x = torch.rand(1, 3, 96, 96)
    network = from_torch(SqueezeNet(width=1).eval(), x, free=False)  # so wide that the picture is the small part
    number = living(network, x)
    plain = steady_peak(lambda: saliency(network, x, number))
    name = "steps" if method == "integrated_gradients" else "samples"
    few, many = (steady_peak(lambda n=n: saliency(network, x, number, method, **{name: n})) for n in (10, 100))
    assert plain > 1e6
    assert many <= 1.3 * plain
    assert many == pytest.approx(few, rel=0.01)


def test_a_photograph(data_file: DataFile) -> None:
    from blockprop import read_photo

    network = pretrained("squeezenet1_1", data_file("weights/squeezenet1_1.safetensors"))
    classes = (data_file("imagenet_classes.txt")).read_text().splitlines()
    network = with_preprocessing(network, classes=classes)
    x = read_photo(data_file("photos/n01855672_goose.jpg"), network)
    seen = saliency(network, x, "goose", "guided_grad_cam", strict=True)
    assert seen.targets == saliency(network, x).targets == ["goose"]
    assert len(seen.coverage.replaced) == 26
    curve = [record.correlation for record in itertools.islice(sanity(network, x, "goose"), 8)]
    assert max(curve) < 0.5
