"""Grids beyond the common checks: edges of a picture, far places, torch's own way back, errors."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import AffineGrid, GridSample, RoiAlign
from blockprop.errors import SettingError, ShapeError

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def sampled(block: GridSample, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """(d_x, d_grid) for a random d_y, held against torch's."""
    x, grid = x.requires_grad_(), grid.requires_grad_()
    theirs = F.grid_sample(x, grid, block.mode, block.padding_mode, block.align_corners)
    d_y = torch.randn_like(theirs)
    theirs.backward(d_y)
    y, saved = block.forward(x.detach(), grid.detach())
    d_x, d_grid = block.propagate(saved, d_y)
    torch.testing.assert_close(y, theirs.detach(), rtol=0, atol=0)
    # float64, sums of at most some hundred terms in another order
    torch.testing.assert_close(d_x, x.grad, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(d_grid, grid.grad, rtol=1e-11, atol=1e-11)
    return d_x, d_grid


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("corners", [False, True])
def test_torch_goes_back_the_same_way(mode: str, padding: str, corners: bool) -> None:
    """Random places, and those on elements, between them, on edges and far outside; the kinks are torch's, too."""
    torch.manual_seed(0)
    block = GridSample(mode, padding, corners)
    line = torch.tensor([-1, 1, 0, -0.75, 0.5, 0.25, -0.8, -2, 3, 0.2, 0.6, -7.1], dtype=torch.float64)
    edges = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)[None]
    for size in ((4, 5), (1, 3), (2, 1)):
        sampled(block, torch.randn(1, 2, *size, dtype=torch.float64), edges.clone())
        sampled(block, torch.randn(3, 2, *size, dtype=torch.float64), torch.randn(3, 7, 6, 2, dtype=torch.float64))
    if mode != "bicubic":
        for size in ((2, 3, 4), (1, 5, 1)):
            grid = 1.5 * torch.randn(2, 3, 4, 5, 3, dtype=torch.float64)
            sampled(block, torch.randn(2, 3, *size, dtype=torch.float64), grid)


def test_a_grid_by_hand() -> None:
    """A quarter of the way from the first to the second of two elements, at −0.5 and 0.5, with 0 below them."""
    x, grid = torch.tensor([[[[10.0, 20.0]]]]), torch.tensor([[[[-0.25, 0.0]]]])
    y, saved = GridSample().forward(x, grid)
    d_x, d_grid = GridSample().propagate(saved, torch.ones(1, 1, 1, 1))
    assert y.tolist() == [[[[12.5]]]]
    assert d_x.tolist() == [[[[0.75, 0.25]]]]
    assert d_grid.tolist() == [[[[10.0, -6.25]]]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("far", [1e8, float("inf"), float("nan")])
def test_places_that_no_picture_has_break_nothing(mode: str, padding: str, far: float) -> None:
    block, grid = GridSample(mode, padding), torch.tensor([[[[far, 0.0], [0.0, -far]]]])
    y, saved = block.forward(torch.ones(1, 1, 3, 3), grid)
    d_x, d_grid = block.propagate(saved, torch.ones_like(y))
    assert d_x.shape == (1, 1, 3, 3)
    assert d_grid.shape == grid.shape
    if far == 1e8 and padding == "zeros":
        assert not d_x.any()
        assert not d_grid.any()


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (3, 2, 4)])
def test_the_map_that_changes_nothing(size: tuple[int, ...], corners: bool) -> None:
    axes = len(size)
    same = torch.eye(axes, axes + 1, dtype=torch.float64)[None]
    x = torch.randn(1, 2, *size, dtype=torch.float64)
    y = GridSample(align_corners=corners)(x, AffineGrid(size, corners)(same))
    torch.testing.assert_close(y, x, rtol=1e-12, atol=1e-12)


def test_shapes_are_known_without_numbers() -> None:
    x, rois = torch.empty(2, 3, 4, 5, device="meta"), torch.empty(7, 4, device="meta")
    assert RoiAlign((2, 3))(x, rois, torch.empty(7, device="meta", dtype=torch.long)).shape == (7, 3, 2, 3)
    assert GridSample()(x, torch.empty(2, 6, 7, 2, device="meta")).shape == (2, 3, 6, 7)
    assert AffineGrid((6, 7))(torch.empty(2, 2, 3, device="meta")).shape == (2, 6, 7, 2)


def error(make: Any, *shapes: tuple[int, ...]) -> None:
    make()(*map(torch.zeros, shapes))


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"expected \(n, c, h, w\) and \(n, h', w', 2\), came \(1, 2, 3\)"):
        error(GridSample, (1, 2, 3), (1, 3, 1))
    with pytest.raises(ShapeError, match="two axes of them for 'bicubic'"):
        error(lambda: GridSample("bicubic"), (1, 2, 3, 3, 3), (1, 2, 2, 2, 3))
    with pytest.raises(ShapeError, match=r"expected \(n, 2, 3\), came \(2, 3, 4\)"):
        error(lambda: AffineGrid((2, 2)), (2, 3, 4))
    with pytest.raises(ShapeError, match="expected numbers of the 2 pictures, came"):
        RoiAlign()(torch.zeros(2, 1, 3, 3), torch.zeros(1, 4), torch.tensor([2]))
    for make in (
        lambda: GridSample("linear"),
        lambda: GridSample(padding_mode="mirror"),
        lambda: AffineGrid((2,)),
        lambda: RoiAlign(0),
        lambda: RoiAlign(mode="sum"),
        lambda: RoiAlign(sampling_ratio=-1),
        lambda: RoiAlign(coordinates="asymmetric"),
    ):
        with pytest.raises(SettingError, match="came"):
            make()
