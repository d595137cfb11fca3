"""Gradients by pictures within a budget of memory: the same numbers in smaller pieces; too little is refused."""

import pytest
import torch
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.networks.architectures import squeezenet1_1
from blockprop.visualize.attribution.saliency import saliency
from blockprop.visualize.dream import dream
from blockprop.visualize.maximize import maximize
from blockprop.visualize.style.stylize import stylize
from blockprop.visualize.tiles import Tile
from blockprop.visualize.tiling import COPIES, Outputs, Tiling
from tests.preparing.extra_memory import smooth
from tests.tensor_peak import tensor_peak
from tests.visualize.styles import pictures, small


def seeds_of(_tile: Tile, outputs: Outputs) -> dict[str, Tensor]:
    return dict(outputs)


def test_less_memory_makes_more_tiles_and_the_same_gradient() -> None:
    torch.manual_seed(0)
    network = squeezenet1_1().to(dtype=torch.float64)
    picture = torch.rand(1, 3, 300, 200, dtype=torch.float64)
    whole = Tiling(network, ["fire5"]).gradient(picture, seeds_of)
    counts = []
    for memory in (10**9, 17_000_000, 12_500_000):
        tiling = Tiling(network, ["fire5"], memory=memory)
        torch.testing.assert_close(tiling.gradient(picture, seeds_of), whole)
        assert tiling.fit(picture).taken <= memory
        counts.append(len(tiling.tiles(picture)))
        assert f"{tiling.fit(picture).taken / 1e6:.1f} MB expected" in str(tiling.expected(picture))
    assert counts[0] == 1 < counts[1] < counts[2]


def test_too_little_is_refused_with_the_least() -> None:
    network, picture = squeezenet1_1(), torch.rand(1, 3, 300, 200)
    with pytest.raises(SettingError, match=r"100\.0 kB of memory are too little for a picture of 1 x 3 x 300 x 200"):
        dream(network, picture, "fire5", memory="100 kB")
    with pytest.raises(SettingError) as refused:
        Tiling(network, ["fire5"], memory="100 kB").tiles(picture)
    least = str(refused.value).split("at least ")[1].split(" beside")[0]
    assert len(Tiling(network, ["fire5"], memory=least).tiles(picture)) > 1


def test_a_dream_and_a_saliency_keep_to_a_budget() -> None:
    network = squeezenet1_1()
    picture = torch.rand(1, 3, 96, 96)
    dreams = [dream(network, picture, "fire5", steps=2, octaves=1, memory=memory).finish() for memory in (None, "1 GB")]
    torch.testing.assert_close(*[each.picture for each in dreams])
    maps = [saliency(network, picture, 5, "smooth_grad", samples=3, memory=memory).map for memory in (None, "1 GB")]
    torch.testing.assert_close(*maps)
    with pytest.raises(SettingError, match="too little for 1 x 3 x 96 x 96: both passes take at least"):
        saliency(network, picture, 5, memory="100 kB")


STYLE = {"content_layers": "relu2", "style_layers": ("relu1", "both", "relu4"), "scales": 1, "style_weight": 10.0}


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_style_keeps_to_a_budget_in_smaller_tiles(optimizer: str) -> None:
    torch.manual_seed(0)
    network = small().to(dtype=torch.float64)
    content, painting = pictures((200, 180), (150, 160), dtype=torch.float64)
    settings = {**STYLE, "steps": 3, "optimizer": optimizer, "history": 2}
    whole = stylize(network, content, painting, **settings)
    assert whole.expected is None
    expected, counts = whole.finish().picture, []
    most = 10**9
    for share in (1, 0.9, 0.8):
        run = stylize(network, content, painting, memory=int(share * most), **settings)
        counts.append(len(run.tiling.tiles(content)))
        assert run.expected is not None
        assert run.expected.bytes <= share * most
        most = min(most, run.expected.bytes) if share == 1 else most
        torch.testing.assert_close(run.finish().picture, expected, rtol=1e-7, atol=1e-9)
    assert counts[0] == 1 < counts[1] <= counts[2]
    with pytest.raises(SettingError, match=r"1\.0 MB of memory are too little for a picture of 1 x 3 x 200 x 180"):
        stylize(network, content, painting, memory="1 MB", **STYLE)


def test_an_ascent_keeps_to_a_budget_by_computing_again() -> None:
    torch.manual_seed(0)
    network = smooth()
    graph = {"doubt": 0, "steps": 4, "redirect_steps": 2, "size": 64}
    whole = maximize(network, "gelu12:3", **graph)
    first = maximize(network, "gelu12:3", memory="1 GB", **graph)
    assert first.expected is not None
    less = maximize(network, "gelu12:3", memory=int(0.85 * first.expected.bytes), **graph)
    assert less.expected is not None
    assert less.expected.bytes < first.expected.bytes
    expected = whole.finish().picture
    torch.testing.assert_close(first.finish().picture, expected)
    torch.testing.assert_close(less.finish().picture, expected)
    with pytest.raises(SettingError, match=r"1\.0 MB of memory are too little for .*: both passes take at least"):
        maximize(network, "gelu12:3", memory="1 MB", **graph)


@pytest.mark.parametrize("tile", [None, 120])
def test_what_is_expected_is_what_tensors_take(tile: int | None) -> None:
    torch.manual_seed(0)
    network, picture = small(), pictures((200, 180))[0]
    nodes = ("relu1", "both", "relu4")

    def seeds(_tile: Tile, outputs: Outputs) -> dict[str, Tensor]:
        return {node: y.flatten(2).mul(2).view_as(y) for node, y in outputs.items()}

    tiling = Tiling(network, nodes, tile, memory="1 GB", apart=True)
    tiling.gradient(picture, seeds)
    taken = tensor_peak(lambda: tiling.gradient(picture, seeds))
    own = 4 * picture.numel()  # what is added up
    expected = tiling.fit(picture).taken - COPIES * own
    assert taken - own == pytest.approx(expected, rel=0.05)
