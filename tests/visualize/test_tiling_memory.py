"""Gradients by pictures within a budget of memory: the same numbers in smaller pieces; too little is refused."""

import pytest
import torch
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.networks.architectures import squeezenet1_1
from blockprop.visualize.attribution.saliency import saliency
from blockprop.visualize.dream import dream
from blockprop.visualize.tiling import Outputs, Tile, Tiling


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
        assert f"{tiling.fit(picture).taken / 1e6:.1f} MB expected for a step" in tiling.expectation(picture)
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
