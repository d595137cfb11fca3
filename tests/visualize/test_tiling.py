"""Tiles: the gradient is that of the whole, whatever the network and the size; what has no tiles says so."""

import itertools
import math
import random
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import (
    AvgPool2d,
    Conv2d,
    Flatten,
    InstanceNorm,
    Jitter,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Pad,
    ReLU,
    Resize,
    Sigmoid,
)
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.visualize.receptive_fields import ReceptiveField, receptive_fields
from blockprop.visualize.tiles import Tile, spans
from blockprop.visualize.tiling import Outputs, Tiling
from tests.conftest import DataFile
from tests.visualize.tiled import NETWORKS, chain, inception


def seeds_of(_tile: Tile, outputs: Outputs) -> dict[str, Tensor]:
    """Of ½ Σ y² + Σ sin y, so that no two places have the same."""
    return {node: y + y.cos() for node, y in outputs.items()}


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("size", [(61, 75), (64, 40), (33, 97)], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_tiled_equals_untiled(name: str, size: tuple[int, int]) -> None:
    network, nodes = NETWORKS[name]()
    size = (size[0] // 2 * 2, size[1] // 2 * 2) if name == "shuffled" else size
    picture = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = Tiling(network, nodes).gradient(picture, seeds_of)
    for each, same in ((network.prepare(nodes), torch.equal), (network, lambda a, b: error(a, b) < 1e-12)):
        trace = each.forward(picture, keep=nodes)
        direct = each.backward(trace, {node: trace[node] + trace[node].cos() for node in nodes}, wrt="inputs")["x"]
        assert same(whole, direct)
    rows, columns = receptive_fields(network, nodes, 3)
    least = max((max(field.least, field.before + field.after + 1) + 1) * field.cell for field in (rows, columns))
    for tile in (least, least + 9, max(least, 50)):
        tiling = Tiling(network, nodes, tile)
        tiles = tiling.tiles(picture)
        assert max(size) <= tile or len(tiles) > 1
        assert all(crop.stop - crop.start <= tile for each in tiles for crop in each.crop)
        found = tiling.gradient(picture, seeds_of)
        assert found.dtype is torch.float64
        assert error(found, whole) < 1e-12
    network.to(dtype=torch.float32)
    whole = Tiling(network, nodes).gradient(picture.float(), seeds_of)
    assert error(Tiling(network, nodes, least).gradient(picture.float(), seeds_of), whole) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_each_place_belongs_to_one_tile(name: str) -> None:
    network, nodes = NETWORKS[name]()
    picture = torch.rand(1, 3, 162, 178, dtype=torch.float64)
    trace = network.forward(picture, keep=nodes)
    tiling = Tiling(network, nodes, 80)
    seen = {node: torch.zeros_like(trace[node]) for node in nodes}
    for tile, outputs in tiling.outputs(picture):
        assert any(y.numel() for y in outputs.values())
        for node in nodes:
            place = (slice(None), slice(None), *tile.places[node])
            assert outputs[node].shape == seen[node][place].shape
            seen[node][place] += 1
            torch.testing.assert_close(outputs[node], trace[node][place], rtol=1e-12, atol=1e-12)
    assert all(bool((count == 1).all()) for count in seen.values())
    assert tiling.sizes(picture) == {node: tuple(trace[node].shape[1:]) for node in nodes}


def drawn(seed: int) -> Network:
    """A random chain; padding is drawn, too."""
    draw = random.Random(seed)
    blocks: list[Block] = []
    channels = 3
    for _ in range(draw.randint(2, 5)):
        kernel, dilation = draw.randint(1, 5), draw.choice((1, 1, 2))
        reach = dilation * (kernel - 1)
        kind = draw.choice(("conv", "conv", "max", "avg", "norm", "pad", "up"))
        if kind == "conv":
            blocks += [Conv2d(channels, 4, kernel, draw.randint(1, 3), draw.randint(0, reach), dilation), Sigmoid()]
            channels = 4
        elif kind in ("max", "avg"):
            pool = MaxPool2d if kind == "max" else AvgPool2d
            kernel = max(2, kernel)
            padding = draw.randint(0, kernel // 2)
            blocks.append(pool(kernel, draw.randint(1, 3), padding, ceil_mode=draw.random() < 0.5))
        elif kind == "pad":
            blocks.append(
                Pad(tuple(draw.randint(0, 2) for _ in range(4)), draw.choice(("constant", "reflect", "replicate")))
            )
        else:
            blocks.append(LocalResponseNorm(3, 0.5) if kind == "norm" else Resize(scale=2))
    return chain(*blocks)


@pytest.mark.parametrize("seed", range(40))
def test_random_chains(seed: int) -> None:
    network = drawn(seed)
    (node,) = network.outputs
    height, width = random.Random(seed).randint(90, 260), random.Random(-seed).randint(90, 260)
    picture = torch.rand(1, 3, height, width, dtype=torch.float64)
    whole = Tiling(network, [node]).gradient(picture, seeds_of)
    rows, columns = receptive_fields(network, [node], 3)
    least = max((max(field.least, field.before + field.after + 1) + 1) * field.cell for field in (rows, columns))
    tiling = Tiling(network, [node], max(least, 60))
    assert error(tiling.gradient(picture, seeds_of), whole) < 1e-11, network


def test_gradient_by_autograd() -> None:
    """½ mean of y² of two layers, against torch's own network and autograd."""
    network = chain(Conv2d(3, 4, 5, 2, 2), ReLU(), MaxPool2d(3, 2, ceil_mode=True), Conv2d(4, 6, 3, padding=1), ReLU())
    weights = list(network.parameters.values())
    picture = torch.rand(1, 3, 101, 87, dtype=torch.float64)
    x = picture.clone().requires_grad_()
    y1 = F.conv2d(x, weights[0], weights[1], 2, 2).relu()
    y2 = F.conv2d(F.max_pool2d(y1, 3, 2, ceil_mode=True), weights[2], weights[3], padding=1).relu()
    (expected,) = torch.autograd.grad(0.5 * y1.square().mean() + 0.5 * y2.square().mean(), x)
    numbers = {"relu1": y1.numel(), "relu2": y2.numel()}
    tiling = Tiling(network, numbers, 48)
    found = tiling.gradient(picture, lambda _, outputs: {node: y / numbers[node] for node, y in outputs.items()})
    assert len(tiling.tiles(picture)) > 6
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_nothing_is_special_about_the_edges_of_tiles() -> None:
    """The energy of the gradient in the pixels beside the edges of tiles is that of all others."""
    network, picture = inception().to(dtype=torch.float32), torch.rand(1, 3, 256, 256)
    tiling = Tiling(network, ["last"], 96)
    whole = Tiling(network, ["last"]).gradient(picture, seeds_of)
    found = tiling.gradient(picture, seeds_of)
    edges = {crop.start for tile in tiling.tiles(picture) for crop in tile.crop} - {0}
    for edge in edges:
        here = slice(edge - 1, edge + 1)
        assert float(found[:, :, here].square().sum()) == pytest.approx(
            float(whole[:, :, here].square().sum()), rel=1e-5
        )


def test_no_tile_is_computed_for_nothing() -> None:
    """Where borders are cut off, the last places lie far from the edge: a tile there would have none."""
    network, picture = chain(Pad((-4, -4, -4, -4))), torch.rand(1, 3, 40, 60, dtype=torch.float64)
    tiles = Tiling(network, ["pad1"], 11).tiles(picture)
    assert all(place.start < place.stop for tile in tiles for place in tile.places["pad1"])
    assert max(tile.places["pad1"][0].stop for tile in tiles) == 32
    assert [tile.number for tile in tiles] == list(range(len(tiles)))


def gram_loss(network: Network, node: str, tile: int | None) -> Callable[[Tensor], Tensor]:
    """∂/∂picture of Σ (G − 1)², G = F Fᵀ / places: the seeds need the sum over all tiles first."""

    def gradient(picture: Tensor) -> Tensor:
        tiling = Tiling(network, [node], tile)
        _, height, width = tiling.sizes(picture)[node]
        places, total = height * width, torch.zeros(())

        def look(_: Tile, outputs: Outputs) -> None:
            nonlocal total
            features = outputs[node].flatten(2)
            total = total + features @ features.transpose(1, 2) / places

        def seeds(_: Tile, outputs: Outputs) -> dict[str, Tensor]:
            features = outputs[node].flatten(2)
            return {node: (4 / places * (total - 1) @ features).view(outputs[node].shape)}

        return tiling.gradient(picture, seeds, look)

    return gradient


def test_gram_matrices_are_summed_before_the_seeds() -> None:
    network = inception()
    picture = torch.rand(1, 3, 83, 97, dtype=torch.float64)
    weights = [network.parameters[name] for name in ("conv1.weight", "conv1.bias")]
    x = picture.clone().requires_grad_()
    features = F.max_pool2d(F.conv2d(x, *weights, 2, 3).relu(), 3, 2, ceil_mode=True).flatten(2)[0]
    loss = (features @ features.T / features.shape[1] - 1).square().sum()
    (expected,) = torch.autograd.grad(loss, x)
    for tile in (None, 32, 50):
        found = gram_loss(network, "pool1", tile)(picture)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)


def test_a_single_tile_needs_one_pass_only() -> None:
    network = inception()
    calls: list[str] = []
    forward = network.blocks["conv1"].forward
    network.blocks["conv1"].forward = lambda x: (calls.append(x.device.type), forward(x))[1]  # type: ignore[assignment, method-assign]
    gram_loss(network, "pool1", 64)(torch.rand(1, 3, 40, 60, dtype=torch.float64))
    assert calls.count("cpu") == 1


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("least", [1, 6])
def test_spans_cover_an_axis(before: int, after: int, least: int) -> None:
    for cell, most, size in itertools.product((1, 4), (7, 12), (1, 8, 13, 30, 31, 33, 99, 400)):
        tile = most * cell + cell // 2
        found = spans(ReceptiveField(cell, before, after, least, {}), size, tile)
        total, halo = math.ceil(size / cell), before + after
        assert found[0].start == found[0].first == 0
        assert found[-1].stop == found[-1].last == total
        assert [a.last for a in found[:-1]] == [b.first for b in found[1:]]
        assert [span.is_end for span in found] == [False] * (len(found) - 1) + [True]
        for span in found:
            assert min(span.stop * cell, size) - span.start * cell <= tile
            assert span.first < span.last
            assert span.start <= max(0, span.first - before)
            assert span.stop == min(total, span.last + after)
            assert span.stop - span.start >= least or len(found) == 1
        assert len(found) == 1 or len(found) <= math.ceil((total - halo) / (most - 1 - halo))


def test_a_small_picture_is_one_tile_whatever_the_network() -> None:
    network = chain(Conv2d(3, 4, 3), InstanceNorm(4), Jitter(2))
    picture = torch.rand(1, 3, 20, 20, dtype=torch.float64)
    assert len(Tiling(network, ["instancenorm1"], 20).tiles(picture)) == 1
    with pytest.raises(SettingError, match="'instancenorm1'"):
        Tiling(network, ["instancenorm1"], 19).tiles(picture)


def test_preprocessing_is_part_of_the_network() -> None:
    network = Sequential({"conv": Conv2d(3, 4, 5, 2, 2), "relu": ReLU()})
    network = with_preprocessing(network, Preprocessing(None, 255.0, (104, 117, 123), channels="BGR"))
    picture = torch.rand(1, 3, 70, 90)
    whole = Tiling(network, ["relu"]).gradient(picture, seeds_of)
    assert error(Tiling(network, ["relu"], 32).gradient(picture, seeds_of), whole) < 1e-5
    small = Sequential({"conv": Conv2d(3, 4, 3), "flat": Flatten(), "fc": Linear(4 * 14 * 14, 5)})
    fixed = with_preprocessing(small, Preprocessing(16))
    with pytest.raises(SettingError, match="no places that follow the rows"):
        Tiling(fixed, ["conv"], 32).tiles(picture)


def test_bad_questions_are_refused() -> None:
    network = inception()
    picture = torch.rand(1, 3, 100, 100, dtype=torch.float64)
    with pytest.raises(GraphError, match=r"no node 'mixd'; .*did you mean 'mixed'"):
        Tiling(network, ["mixd"])
    with pytest.raises(SettingError, match="at least 1 pixel"):
        Tiling(network, ["mixed"], 0)
    with pytest.raises(SettingError, match="one input"):
        Tiling(network, [])
    with pytest.raises(ShapeError, match=r"'scores' an output .* came 1 x 5"):
        Tiling(network, ["scores"]).sizes(picture)
    with pytest.raises(SettingError, match=r"tile must be at least \d+ pixels for these nodes, came 16"):
        Tiling(network, ["last"], 16).tiles(picture)
    with pytest.raises(ShapeError, match="expected pictures"):
        Tiling(network, ["mixed"]).gradient(picture[0], seeds_of)
    with pytest.raises(ShapeError, match="seed for 'mixed' is 1 x 13 x 2 x 2, but tile 0 has"):
        Tiling(network, ["mixed"], 64).gradient(picture, lambda *_: {"mixed": torch.zeros(1, 13, 2, 2)})


def test_seeds_may_be_left_out() -> None:
    network, picture = inception(), torch.rand(1, 3, 100, 100, dtype=torch.float64)
    seen: list[Mapping[str, Tensor]] = []
    tiling = Tiling(network, ["mixed", "last"], 80)
    found = tiling.gradient(picture, lambda _, outputs: (seen.append(outputs), {})[1])
    assert len(seen) == len(tiling.tiles(picture))
    assert not found.any()
    one = tiling.gradient(picture, lambda _, outputs: {"mixed": outputs["mixed"]})
    assert error(one, Tiling(network, ["mixed"]).gradient(picture, lambda _, outputs: dict(outputs))) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [("inception_4c",), ("inception_3b", "inception_4c"), ("conv2_norm2",)], ids=str)
def test_googlenet_in_tiles(nodes: tuple[str, ...], data_file: DataFile) -> None:
    path = data_file("weights/googlenet_bvlc.safetensors")
    network = with_preprocessing(pretrained("googlenet", path))
    picture = torch.rand(1, 3, 411, 533, generator=torch.Generator().manual_seed(0))
    whole = Tiling(network, nodes).gradient(picture, seeds_of)
    assert error(Tiling(network, nodes, 384).gradient(picture, seeds_of), whole) < 1e-5
