"""Dreams: a step by hand, whole runs by a second version with autograd; tiled, stopped, resumed, filmed, refused."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Affine, Conv2d, Flatten, Linear
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.picture_files import read_picture
from blockprop.pictures.scaling import scaled
from blockprop.visualize.dream import dream
from blockprop.visualize.objectives.activity import Layers, Resemblance, parsed
from tests.conftest import DataFile
from tests.visualize.dreams import by_autograd, photo, small, start


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("relu2", [("relu2", None, 1.0)]),
        ("relu2:3", [("relu2", 3, 1.0)]),
        (["relu1", "relu2:0"], [("relu1", None, 1.0), ("relu2", 0, 1.0)]),
        ({"relu1": 2, "conv2:1": -0.5}, [("relu1", None, 2.0), ("conv2", 1, -0.5)]),
    ],
    ids=str,
)
def test_layers_by_name(layers: Layers, expected: Any) -> None:
    assert parsed(layers, small()) == expected


def test_a_step_by_hand() -> None:
    """y = 2 x: value ½ mean of y², gradient in the ratio of x, divided by its mean size, times the rate."""
    network = Sequential({"double": Affine(2.0)})
    picture = torch.tensor([0.2, 0.6, 0.1, 0.3]).view(1, 1, 2, 2)
    (step,) = dream(network, picture, "double", steps=1, octaves=1, rate=0.1)
    assert step.picture is not None
    expected = picture + 0.1 * picture / 0.3
    torch.testing.assert_close(step.picture, expected)
    assert step.value == pytest.approx(0.5 * 4 * (0.04 + 0.36 + 0.01 + 0.09) / 4)
    assert (step.step, step.steps, step.best, step.best_step) == (1, 1, step.value, 1)
    assert step.parts == {"activity('double')": step.value}


def test_a_step_stays_between_black_and_white() -> None:
    network = Sequential({"shifted": Affine(1.0, -0.5)})
    picture = torch.tensor([0.1, 0.9, 0.5, 0.6]).view(1, 1, 2, 2)
    (step,) = dream(network, picture, "shifted", steps=1, octaves=1, rate=0.3)
    assert step.picture is not None
    assert step.picture.flatten().tolist()[:3] == [0.0, 1.0, 0.5]


def test_a_dream_begins_between_black_and_white() -> None:
    first = next(start(image=2 * photo() - 0.5, octaves=1, jitter=0))
    assert first.value == next(start(image=(2 * photo() - 0.5).clamp(0, 1), octaves=1, jitter=0)).value


def reference(picture: Tensor, layers: dict[str, float], steps: int, octaves: int, jitter: int, seed: int) -> Tensor:
    """The same dream with autograd, in the order of the original notebook."""
    weights = small(picture.dtype).parameters

    def loss(x: Tensor) -> Tensor:
        x = 2 * x.flip(1) - 1
        outputs = {"relu1": F.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], 2, 1).relu()}
        pooled = F.max_pool2d(outputs["relu1"], 3, 2, ceil_mode=True)
        outputs["conv2"] = F.conv2d(pooled, weights["conv2.weight"], weights["conv2.bias"], padding=1)
        total = x.new_zeros(())
        for title, weight in layers.items():
            node, _, channel = title.partition(":")
            y = outputs[node][:, int(channel) : int(channel) + 1] if channel else outputs[node]
            total = total + weight * 0.5 * y.square().mean()
        return total

    generator = torch.Generator().manual_seed(seed)
    height, width = picture.shape[2:]
    detail = None
    for i in reversed(range(octaves)):
        base = scaled(picture, round(height / 1.4**i), round(width / 1.4**i))
        x = base if detail is None else base + scaled(detail, *base.shape[2:])
        for _ in range(steps):
            dy, dx = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
            x = x.roll((dy, dx), (2, 3)).requires_grad_()
            (d,) = torch.autograd.grad(loss(x), x)
            x = (x.detach() + 1.5 / 255 / d.abs().mean() * d).clamp(0, 1).roll((-dy, -dx), (2, 3))
        detail = x - base
    return x


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize("layers", [{"relu1": 1.0}, {"conv2": 0.3, "relu1:2": 2.0}], ids=str)
def test_a_whole_dream_by_autograd(layers: dict[str, float], tile: int | None) -> None:
    picture = photo(61, 74, dtype=torch.float64)
    run = dream(small(torch.float64), picture, layers, steps=3, octaves=3, jitter=5, tile=tile, seed=7)
    *_, last = run
    assert last.picture is not None
    expected = reference(picture, layers, 3, 3, 5, 7)
    assert last.picture.shape == picture.shape
    torch.testing.assert_close(last.picture, expected, rtol=1e-9, atol=1e-11)


def test_each_picture_of_a_batch_dreams_as_if_alone() -> None:
    pictures = photo(n=2)
    *_, last = start(image=pictures)
    *_, alone = start(image=pictures[1:])
    assert last.picture is not None
    assert alone.picture is not None
    torch.testing.assert_close(last.picture[1:], alone.picture, rtol=0, atol=1e-5)


def test_the_guide_draws_the_dream_to_itself() -> None:
    guide = photo(30, 20)
    network = small()
    run = dream(network, photo(), ["conv2", "relu1:3"], steps=20, octaves=1, guide=guide)
    steps = list(run)
    assert steps[-1].value > steps[0].value
    assert list(steps[0].parts) == ["resemblance('conv2')", "resemblance('relu1:3')"]
    trace = network.forward(guide, keep=("conv2",))
    expected = by_autograd(Resemblance("conv2", trace["conv2"]), network.forward(photo(), keep=("conv2",))["conv2"])
    assert steps[0].parts["resemblance('conv2')"] != 0
    first = next(dream(network, photo(), "conv2", steps=1, octaves=1, guide=guide, jitter=0))
    assert first.value == pytest.approx(expected[0], rel=1e-5)


def test_the_guide_may_be_tiled() -> None:
    guide = photo(60, 70)
    whole = next(start(guide=guide, tile=None)).value
    assert next(start(guide=guide, tile=32)).value == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, came 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"octaves": 0}, "octaves must be"),
        ({"frames": 0}, "frames must be"),
        ({"octave_scale": 1.0}, "octave_scale above 1"),
        ({"rate": 0.0}, "rate above 0, up to 1, came 0.0"),
        ({"rate": float("nan")}, "rate above 0, up to 1, came nan"),
        ({"zoom": 0.0}, "zoom above 0"),
        ({"jitter": -1}, "a jitter of 0 to"),
        ({"jitter": 1.5}, "a jitter of 0 to"),
        ({"octaves": 5000}, "at most 64 octaves"),
        ({"octave_scale": 1e200}, "octave_scale above 1, up to 64"),
        ({"rotation": math.inf, "frames": 2}, "a finite rotation"),
        ({"image": "noise", "size": (24, 24, 24)}, "one number for both"),
        ({"image": "noise", "size": 24.0}, "one number for both"),
        ({"layers": 5}, "expected a layer, several, or weights"),
        ({"preview_every": 0}, "preview_every"),
        ({"resume": True}, "needs the path"),
        ({"image": "nois"}, "a picture or 'noise'"),
        ({"size": (20, 30)}, "a picture keeps its proportions"),
        ({"size": 0}, "size must be a whole number"),
        ({"size": 200_000}, "more than the 80,000,000 pixels"),
        ({"image": "noise", "size": 0}, "height must be"),
        ({"layers": []}, "at least one layer"),
        ({"layers": {"relu2": 0}}, "weights other than 0"),
        ({"layers": "relu2:4"}, "'relu2' has 4 channels, 0…3; there is no channel 4"),
        ({"layers": "relu2:x"}, "node or node:channel"),
        ({"tile": 0}, "tile must be at least 1"),
        ({"tile": 16}, r"tile must be at least \d+ pixels for these nodes, came 16"),
        ({"octaves": 12}, "the smallest octave of 1 x 1 is too small"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        start(**settings)


def test_bad_layers_and_pictures_are_refused() -> None:
    with pytest.raises(GraphError, match=r"no layer 'relu3'; .*did you mean 'relu"):
        start(layers="relu3")
    with pytest.raises(GraphError, match="no layer 'rel'"):
        start(layers="rel:3")
    for layer in ("fc", "pool2"):
        with pytest.raises(ShapeError, match=rf"of node '{layer}' an output \(n, channels, h, w\), came 1 x"):
            start(layers=layer)
    with pytest.raises(ShapeError, match="picture"):
        start(image=torch.rand(3, 20, 20))
    with pytest.raises(ShapeError, match="not finite"):
        start(image=photo() / 0)
    with pytest.raises(ShapeError, match="one picture as a guide"):
        start(guide=photo(n=2))
    with pytest.raises(SettingError, match="one input"):
        dream(Network(small().nodes, ("x", "z")), photo(), "relu2")
    fixed = Sequential({"conv": Conv2d(3, 2, 3), "flat": Flatten(), "fc": Linear(2 * 14 * 14, 2)})
    with pytest.raises(ShapeError, match="'fc' an output"):
        dream(fixed, photo(16, 16), "fc", octaves=1)
    too_deep = Sequential({"conv": Conv2d(3, 2, 9)})
    with pytest.raises(SettingError, match="smallest octave of 7 x 9 is too small for the network, use fewer"):
        dream(too_deep, photo(20, 24), "conv", octaves=4)


def test_without_a_number_there_are_as_many_octaves_as_the_network_takes() -> None:
    """20 / 1.4² is 10, 20 / 1.4³ is 7 and less than the window of 9; one octave is the picture itself."""
    network = Sequential({"conv": Conv2d(3, 2, 9)})

    def octaves(image: Any, **settings: Any) -> int:
        run = dream(network, image, "conv", steps=1, jitter=1, **settings)
        run.finish()
        return len(run.sizes)

    by_side = {40: 4, 20: 3, 14: 2, 9: 1}
    assert {side: octaves(photo(side, side)) for side in by_side} == by_side
    assert octaves("noise", size=20) == 3


def test_a_layer_with_nothing_to_say_is_told() -> None:
    network = small()
    network.parameters["conv2.bias"].fill_(-1e3)
    with pytest.raises(SettingError, match=r"step 1: the gradient of activity\('relu2'\) is zero everywhere"):
        next(dream(network, photo(), "relu2"))


def test_numbers_that_overflow_are_told() -> None:
    network = small()
    network.parameters["conv2.bias"].fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="step 1"):
        next(dream(network, photo(), "relu2"))


@pytest.mark.slow
def test_googlenet_dreams(data_file: DataFile) -> None:
    path, sky = data_file("weights/googlenet_bvlc.safetensors"), data_file("art/deepdream_sky.jpg")
    network = with_preprocessing(pretrained("googlenet", path))
    picture = read_picture(sky, longest=192)
    steps = list(dream(network, picture, octaves=2))
    assert steps[-1].value > 3 * steps[0].value
    assert list(steps[0].parts) == ["activity('inception_4c')"]
    assert steps[-1].picture is not None
    assert 0.02 < float((steps[-1].picture - picture).abs().mean()) < 0.2
