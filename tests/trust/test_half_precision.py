"""Half precision holds numbers, and not what they are computed from: places, sums, squares."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.pictures.scaling import scaled, with_longest, zoomed
from blockprop.training.augmentation import rotate, zoom
from tests.blocks.running import back, made, run
from tests.cases import CASES
from tests.trust.layouts import off_by


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_block_that_has_no_kernel_in_half_precision_computes_in_single(dtype: torch.dtype) -> None:
    for case in CASES:
        block = made(case, dtype)
        outputs, saved = run(block, case, *case.tensors(dtype))
        d_outputs = tuple(torch.ones_like(y) if y.is_floating_point() else None for y in outputs)
        if case.differentiable:
            back(block, saved, d_outputs)
        assert not any(y.isnan().any() for y in outputs), case


@pytest.mark.parametrize("block", [blocks.GELU(), blocks.GELU("tanh")], ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gelu_far_out_has_the_slopes_of_relu(block: Block, dtype: torch.dtype) -> None:
    """Also where x² is too large for its type, of which torch's own derivative is NaN."""
    x = torch.tensor([1e3, -1e3, torch.finfo(dtype).max, -torch.finfo(dtype).max], dtype=dtype)
    (d_x,) = block.propagate(block.forward(x)[1], torch.ones_like(x))
    assert d_x.tolist() == [1, 0, 1, 0]


SLOPING: dict[Block, nn.Module] = {
    blocks.ELU(): nn.ELU(),
    blocks.ELU(0.5): nn.ELU(0.5),
    blocks.CELU(2.0): nn.CELU(2.0),
    blocks.SELU(): nn.SELU(),
    blocks.Softplus(): nn.Softplus(),
    blocks.Softplus(2.0): nn.Softplus(2.0),
    blocks.Softplus(threshold=5.0): nn.Softplus(threshold=5.0),
    blocks.SiLU(): nn.SiLU(),
    blocks.GELU(): nn.GELU(),
    blocks.GELU("tanh"): nn.GELU("tanh"),
    blocks.Sigmoid(): nn.Sigmoid(),
    blocks.Tanh(): nn.Tanh(),
    blocks.HardSigmoid(): nn.Hardsigmoid(),
    blocks.LeakyReLU(): nn.LeakyReLU(),
}


@pytest.mark.parametrize("block", SLOPING, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_small_slopes_far_out_are_as_near_as_those_of_torch(block: Block, dtype: torch.dtype) -> None:
    """Relative to the slope itself, which a slope from a rounded output is not; and not 0 · ∞ where d_y is infinite."""
    x = torch.tensor([-1e4, -40, -20, -17, -12, -8, -6, -4, -2, -1, -0.1, 0.1, 1, 4, 8, 12, 17, 40, 1e4], dtype=dtype)
    _, saved = block.forward(x)
    module = SLOPING[block]

    def by_autograd(d_y: float, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(module(x), x, torch.full_like(x, d_y))[0]

    exact = by_autograd(1.0, x.double())
    allowed = 4 * (by_autograd(1.0, x).double() - exact).abs() + 2 * torch.finfo(dtype).eps * exact.abs() + 1e-8
    (d_x,) = block.propagate(saved, torch.ones_like(x))
    assert ((d_x.double() - exact).abs() <= allowed).all()
    for infinite in (math.inf, -math.inf):
        (d_x,), by_torch = block.propagate(saved, torch.full_like(x, infinite)), by_autograd(infinite, x)
        assert torch.equal(d_x[~by_torch.isnan()], by_torch[~by_torch.isnan()])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_volumes_pooled_in_half_precision_are_rounded_once(dtype: torch.dtype) -> None:
    """Averages and norms of 1,000 equal numbers: sums in half precision would stop, or overflow, long before."""
    x = torch.full((1, 1, 10, 10, 10), 100.0, dtype=dtype)
    expected = {blocks.AvgPool3d(10): 100.0, blocks.AdaptiveAvgPool3d(1): 100.0, blocks.GlobalAvgPool(): 100.0}
    for block, y in (expected | {blocks.LpPool3d(2, 10): 100 * math.sqrt(1000)}).items():
        assert block(x).item() == pytest.approx(y, rel=torch.finfo(dtype).eps), block


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_places_are_not_rounded_in_half_precision(dtype: torch.dtype) -> None:
    """In pictures of 200 places, numbers of half precision are up to a whole place apart; torch even gives NaN.

    Beside float64 with the same numbers: outputs, and derivatives by picture, grid and map.
    """
    generator = torch.Generator().manual_seed(0)
    x, d_y = (torch.randn(1, 2, side, side, generator=generator).to(dtype) for side in (200, 16))
    affine = (torch.randn(1, 2, 3, generator=generator) / 3).to(dtype)
    grid = torch.rand(1, 16, 16, 2, generator=generator).sub_(0.5).to(dtype)
    spread = torch.randn(1, 200, 200, 2, generator=generator).to(dtype)
    turned = torch.randn(x.shape, generator=generator).to(dtype)
    tried = [(blocks.GridSample(), (x, grid), d_y), (blocks.GridSample("nearest"), (x, grid), d_y)]
    tried += [(blocks.AffineGrid((200, 200)), (affine,), spread), (blocks.RandomAffine(30.0), (x,), turned)]
    for block, inputs, d in tried:
        found, exact = (_all_of(block, [one.to(kind) for one in inputs], d.to(kind)) for kind in (dtype, torch.float64))
        for mine, theirs in zip(found, exact, strict=True):
            assert mine.dtype == dtype
            assert off_by(mine.double(), theirs) < 4 * torch.finfo(dtype).eps, block


def _all_of(block: Block, inputs: list[Tensor], d_y: Tensor) -> list[Tensor]:
    if isinstance(block, blocks.RandomAffine):
        block.generator = torch.Generator().manual_seed(0)
    y, saved = block.forward(*inputs)
    return [y, *(d for d in block.propagate(saved, d_y) if d is not None)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pictures_in_half_precision_are_changed_in_single(dtype: torch.dtype) -> None:
    picture = torch.rand(1, 3, 160, 200, generator=torch.Generator().manual_seed(0)).to(dtype)
    changes: dict[str, Callable[[Tensor], Tensor]] = {
        "scaled": lambda x: scaled(x, 70, 90),
        "with_longest": lambda x: with_longest(x, 90),
        "zoomed": lambda x: zoomed(x, 1.1, 7.0),
        "rotate": lambda x: rotate(20)(x, torch.Generator().manual_seed(1)),
        "zoom": lambda x: zoom(0.2)(x, torch.Generator().manual_seed(1)),
    }
    for name, change in changes.items():
        y = change(picture)
        assert y.dtype == dtype
        assert off_by(y.double(), change(picture.double())) < 4 * torch.finfo(dtype).eps, name
