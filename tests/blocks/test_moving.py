"""Moved and repeated elements, pixel shuffles and windows: numbers by hand, what is adjoint to what, errors."""

import pytest
import torch

from blockprop.blocks import (
    ChannelOrder,
    Diagonal,
    Flip,
    Fold,
    PixelShuffle,
    PixelUnshuffle,
    Repeat,
    RepeatInterleave,
    Roll,
    Squeeze,
    Unfold,
    Unsqueeze,
)
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


def test_copies_are_added_up() -> None:
    x, d_y = torch.tensor([1.0, 2]), torch.tensor([1.0, 10, 100, 1000])
    for block, y, d_x in (
        (Repeat((2,)), [1, 2, 1, 2], [101, 1010]),
        (RepeatInterleave(2, 0), [1, 1, 2, 2], [11, 1100]),
    ):
        found, saved = block.forward(x)
        assert found.tolist() == y
        assert block.propagate(saved, d_y)[0].tolist() == d_x


def test_the_two_ways_to_number_channels() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert PixelShuffle(2, "CRD")(x).tolist() == [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]]
    assert PixelShuffle(2, "DCR")(x).tolist() == [[[[0, 2], [4, 6]], [[1, 3], [5, 7]]]]


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_shuffling_is_undone(mode: str) -> None:
    x = torch.arange(2 * 18 * 2 * 3.0).view(2, 18, 2, 3)
    assert torch.equal(PixelUnshuffle(3, mode)(PixelShuffle(3, mode)(x)), x)


def test_windows_overlap() -> None:
    y, saved = Unfold((1, 2)).forward(torch.tensor([[[[1.0, 2, 3]]]]))
    assert y.tolist() == [[[1, 2], [2, 3]]]
    assert Unfold((1, 2)).propagate(saved, torch.tensor([[[1.0, 10], [100, 1000]]]))[0].tolist() == [[[[1, 110, 1000]]]]
    assert Fold((1, 3), (1, 2))(y).tolist() == [[[[1, 4, 3]]]]


def test_channels_go_where_they_are_called() -> None:
    x = torch.tensor([[1.0, 2, 3]])
    block = ChannelOrder((1, 2, 0))
    y, saved = block.forward(x)
    assert y.tolist() == [[2, 3, 1]]
    assert block.propagate(saved, y)[0].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Roll((1, 2), 1), "one shift for each axis"),
        (lambda: Roll((), ()), "one shift for each axis"),
        (lambda: Repeat((2, -1)), "counts must be at least 0"),
        (lambda: RepeatInterleave(0, 1), "count must be at least 1"),
        (lambda: ChannelOrder((0, 2)), "each channel from 0 on once"),
        (lambda: ChannelOrder((0, 0)), "each channel from 0 on once"),
        (lambda: PixelShuffle(0), "factor must be at least 1"),
        (lambda: PixelUnshuffle(2, "RCD"), "mode must be one of CRD, DCR, came 'RCD'"),
        (lambda: Unfold(0), "kernel must be"),
        (lambda: Unfold((2, 2, 2)), "kernel must be"),
        (lambda: Fold(4, 2, stride=0), "stride must be"),
        (lambda: Fold(2, 3), "does not fit into the size 2"),
    ],
)
def test_settings_that_make_no_sense(make: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()


@pytest.mark.parametrize(
    ("block", "shape", "says"),
    [
        (Flip((1, -1)), (2, 3), "name one axis twice"),
        (Squeeze((1, -1)), (2, 1), "name one axis twice"),
        (Squeeze(1), (2, 3), r"size 1 along axes 1, came \(2, 3\)"),
        (Unsqueeze((1, 1)), (2, 3), "can have new axes"),
        (Unsqueeze(4), (2, 3), "can have new axes 4"),
        (Diagonal(0, 1, -1), (2, 3), "name one axis twice"),
        (PixelShuffle(2), (1, 6, 2, 2), "multiple of 4"),
        (PixelUnshuffle(2), (1, 1, 2, 3), "multiples of 2"),
        (Unfold(3), (1, 1, 2, 3), "in which the kernel 3 fits"),
        (Fold(3, 2), (1, 4, 3), r"expected \(n, multiple of 4, 4\), came \(1, 4, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(block: Block, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(torch.zeros(shape))
