"""The loss of content, styles and masks against autograd, whole and in tiles."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import ReLU
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.visualize.style.losses import Aim, StyleLosses, Weights
from blockprop.visualize.tiling import Tiling
from tests.visualize.styles import pictures, small, start

WEIGHTS = Weights({"relu2": 1.0}, {"relu1": 0.25, "both": 0.25, "relu4": 0.5}, 1.0, 10.0, 0.5, 3.0)


def losses(network: Network, tile: int | None = None, weights: Weights = WEIGHTS, **masks: Tensor) -> StyleLosses:
    dtype = next(iter(network.parameters.values())).dtype
    content, one, two = pictures((40, 52), (31, 44), (60, 36), dtype=dtype)
    aims = [Aim("one", one, 0.75, masks.get("one")), Aim("two", two, 0.25, masks.get("two"))]
    return StyleLosses(Tiling(network, weights.nodes, tile), content, aims, weights)


def by_autograd(network: Network, picture: Tensor, weights: Weights, masks: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The loss and its gradient, written once more from the docstrings, with torch's own network."""
    content, one, two = pictures((40, 52), (31, 44), (60, 36), dtype=picture.dtype)
    w = network.parameters

    def outputs(x: Tensor) -> dict[str, Tensor]:
        def convolve(x: Tensor, i: int, padding: int) -> Tensor:
            return F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], padding=padding).relu()

        one = convolve(F.pad(x, (1, 1, 1, 1), mode="reflect"), 1, 0)
        two, three = convolve(one, 2, 1), convolve(one, 3, 0)
        both = torch.cat([two, three], 1)
        four = convolve(F.max_pool2d(both, 2, ceil_mode=True), 4, 1)
        return {"relu1": one, "relu2": two, "relu3": three, "both": both, "relu4": four}

    def mean_product(y: Tensor, mask: Tensor | None) -> Tensor:
        m = torch.ones(y.shape[2:], dtype=y.dtype)
        if mask is not None:
            m = F.interpolate(mask[None, None], y.shape[2:], mode="bilinear", antialias=True)[0, 0]
        return torch.einsum("nchw,ndhw,hw->cd", y, y, m) / m.sum()

    with torch.no_grad():
        aims = {"one": (outputs(one), 0.75), "two": (outputs(two), 0.25)}
        wanted = outputs(content)
    x = picture.clone().requires_grad_()
    found = outputs(x)
    total = x.new_zeros(())
    for node, weight in weights.content_layers.items():
        p = wanted[node]
        total = total + weights.content * weight * (found[node] - p).square().sum() / p.square().sum()
    for name, (features, share) in aims.items():
        for node, weight in weights.style_layers.items():
            a = mean_product(features[node], None)
            g = mean_product(found[node], masks.get(name))
            total = total + weights.style * share * weight * (g - a).square().sum() / a.square().sum()
    variation = x.diff(dim=2).square().sum() + x.diff(dim=3).square().sum()
    total = total + weights.variation * variation / x.numel()
    total = total + weights.range * ((x - 1).relu().square() + (-x).relu().square()).mean()
    total.backward()
    assert x.grad is not None
    return total.detach(), x.grad


@pytest.mark.parametrize("masked", [(), ("one",), ("one", "two")], ids=str)
def test_the_loss_equals_autograd(masked: tuple[str, ...]) -> None:
    network = small().to(dtype=torch.float64)
    masks = {name: torch.rand(40, 52, dtype=torch.float64) for name in masked}
    (picture,) = pictures((40, 52), seed=5, dtype=torch.float64)
    picture = 1.4 * picture - 0.2
    point = losses(network, **masks)(picture)
    value, d = by_autograd(network, picture, WEIGHTS, masks)
    assert point.value == pytest.approx(float(value), rel=1e-12)
    assert math.fsum(point.parts.values()) == pytest.approx(point.value)
    assert list(point.parts) == ["content", "one", "two", "total variation", "range"]
    torch.testing.assert_close(point.d, d, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        Weights({}, {"relu1": 1.0}, 0.0, 3.0, 0.0),
        Weights({"relu4": 1.0}, {}, 2.0, 0.0, 0.1),
        Weights({"relu2": 0.5, "relu3": 0.5}, {"relu3": 1.0}, 1.0, 1.0, 0.0),
    ],
    ids=["all", "style", "content", "side by side"],
)
def test_any_weights_equal_autograd(weights: Weights) -> None:
    network = small().to(dtype=torch.float64)
    (picture,) = pictures((40, 52), seed=5, dtype=torch.float64)
    point = losses(network, None, weights)(picture)
    value, d = by_autograd(network, picture, weights, {})
    assert point.value == pytest.approx(float(value), rel=1e-12)
    torch.testing.assert_close(point.d, d, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["everywhere", "masked"])
def test_tiles_equal_the_whole(dtype: torch.dtype, masked: bool) -> None:
    network = small().to(dtype=dtype)
    masks = {"one": torch.rand(40, 52, dtype=dtype)} if masked else {}
    (picture,) = pictures((40, 52), seed=5, dtype=dtype)
    whole = losses(network, None, **masks)
    tiled = losses(network, 24, **masks)
    assert len(tiled.tiling.tiles(picture)) > 3
    one, other = whole(picture), tiled(picture)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-12
    assert other.value == pytest.approx(one.value, rel=tolerance)
    assert float((one.d - other.d).norm() / one.d.norm()) < tolerance
    assert all(other.parts[name] == pytest.approx(part, rel=tolerance) for name, part in one.parts.items())


def test_a_run_in_tiles_equals_one_without() -> None:
    whole, tiled = list(start(steps=1)), list(start(steps=1, tile=36))
    for one, other in zip(whole, tiled, strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-4)
    torch.testing.assert_close(tiled[-1].picture, whole[-1].picture, rtol=0, atol=1e-3)


def test_the_picture_is_not_changed_and_no_weight_is() -> None:
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    (picture,) = pictures((40, 52), seed=5)
    copy = picture.clone()
    losses(network)(picture)
    assert torch.equal(picture, copy)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())


def test_forward_stops_at_the_deepest_layer() -> None:
    class Never(ReLU):
        def forward(self, x: Tensor) -> Any:
            raise AssertionError("nobody asked for this")

    network = small()
    nodes = [Node(n.name, Never() if n.name == "relu5" else n.block, n.inputs) for n in network.nodes]
    (picture,) = pictures((40, 52), seed=5)
    assert losses(Network(nodes))(picture).value > 0
