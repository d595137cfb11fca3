"""Reshaping and resizing beyond the common checks: numbers by hand, parts that nothing came back from, errors."""

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import Flatten, Mean, Pad, Reshape, Resize, Slice, Split, Sum, Transpose
from blockprop.errors import SettingError, ShapeError


@pytest.mark.parametrize(
    ("mode", "y", "d_x"),
    [
        ("constant", [9, 9, 1, 2, 3, 4, 9], [100, 1000, 10000, 100000]),
        ("reflect", [3, 2, 1, 2, 3, 4, 3], [100, 1010, 1010001, 100000]),
        ("replicate", [1, 1, 1, 2, 3, 4, 4], [111, 1000, 10000, 1100000]),
        ("circular", [3, 4, 1, 2, 3, 4, 1], [1000100, 1000, 10001, 100010]),
    ],
)
def test_each_border_goes_back_where_it_came_from(mode: str, y: list, d_x: list) -> None:
    block = Pad((2, 1), mode, 9.0)
    found, saved = block.forward(torch.tensor([1.0, 2, 3, 4]))
    assert found.tolist() == y
    assert block.propagate(saved, 10.0 ** torch.arange(7))[0].tolist() == d_x


def test_split_gives_zeros_for_a_part_that_nothing_came_back_from() -> None:
    block = Split((1, 2), axis=1)
    assert block.output_count == 2
    _, saved = block.forward(torch.zeros(2, 3))
    assert block.propagate(saved, (None, torch.ones(2, 2)))[0].tolist() == [[0, 1, 1], [0, 1, 1]]
    assert block.propagate(saved, (torch.ones(2, 1), None))[0].tolist() == [[1, 0, 0], [1, 0, 0]]


def test_sum_and_mean_by_hand() -> None:
    x, d_y = torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([3.0, 6.0])
    y, saved = Sum(1).forward(x)
    assert y.tolist() == [6, 15]
    assert Sum(1).propagate(saved, d_y)[0].tolist() == [[3, 3, 3], [6, 6, 6]]
    y, saved = Mean(1).forward(x)
    assert y.tolist() == [2, 5]
    assert Mean(1).propagate(saved, d_y)[0].tolist() == [[1, 1, 1], [2, 2, 2]]


def test_bilinear_by_hand() -> None:
    """Two elements to four: each border is copied, the middle two are mixed as 3 to 1."""
    block = Resize(size=(1, 4), mode="bilinear")
    y, saved = block.forward(torch.tensor([[[[0.0, 4.0]]]]))
    assert y.tolist() == [[[[0, 1, 3, 4]]]]
    assert block.propagate(saved, torch.tensor([[[[1.0, 10, 100, 1000]]]]))[0].tolist() == [[[[33.5, 1077.5]]]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("copies", [2, 3, 41, 47, 55, 61])
def test_nearest_is_the_adjoint_of_torchs_own_rounding(copies: int, dtype: torch.dtype) -> None:
    """41 · (1/41) is below 1, so that torch's 42nd element still copies the first: no plain repetition.

    The oracle is the sum over the elements that torch copies, because torch 2.13's own backward pass is wrong here: it
    rounds in float32 what its forward pass rounds in float64.
    """
    block, x = Resize(size=(1, 5 * copies)), torch.arange(5, dtype=dtype).view(1, 1, 1, 5)
    y, saved = block.forward(x)
    d_y = torch.randint(-9, 10, y.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = [float(d_y[y == i].sum()) for i in range(5)]  # whole numbers, so exact in any order
    assert torch.equal(y, F.interpolate(x, (1, 5 * copies)))
    assert block.propagate(saved, d_y)[0].flatten().tolist() == expected


def test_reshape_of_an_empty_batch_knows_what_is_left() -> None:
    assert Reshape((3, -1))(torch.zeros(0, 6, 2)).shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Pad((1,)), "pads must be pairs"),
        (lambda: Pad((1, -1), "reflect"), "negative for constant alone"),
        (lambda: Pad((1, 1), "mirror"), "mode must be one of constant, reflect, replicate, circular, came 'mirror'"),
        (lambda: Reshape((-1, -1)), "at most once"),
        (lambda: Transpose((0, 0)), "each axis once"),
        (lambda: Slice(1, step=0), "step must be at least 1"),
        (lambda: Split(()), "sizes must be"),
        (lambda: Sum(()), "at least one axis"),
        (lambda: Resize(), "either size or scale"),
        (lambda: Resize(size=2, scale=2), "either size or scale"),
        (lambda: Resize(size=2, mode="cubic"), "mode must be one of .*bicubic.*, came 'cubic'"),
        (lambda: Resize(size=2, align_corners=True), "align_corners needs mode='bilinear'"),
        (lambda: Resize(scale=0), "positive"),
    ],
)
def test_settings_that_make_no_sense(make: object, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        make()


@pytest.mark.parametrize(
    ("block", "shape", "says"),
    [
        (Flatten(), (3,), r"expected an axis 1, came \(3,\)"),
        (Reshape((4, 3)), (2, 6, 3), r"expected elements that fit \(4, 3\), came \(2, 6, 3\)"),
        (Split((1, 2)), (2, 4), r"expected 3 elements along axis 1, came \(2, 4\)"),
        (Pad((3, 0), "reflect"), (2, 3), "too few elements"),
        (Sum((0, -2)), (2, 3), "name one axis twice"),
    ],
)
def test_shapes_that_do_not_fit(block: object, shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        block(torch.zeros(shape))
