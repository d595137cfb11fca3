"""Norms beyond the common checks: nothing to divide by, half precision, numbers by hand."""

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import LpNorm, MeanVarianceNorm, RMSNorm
from blockprop.errors import SettingError


def test_by_hand() -> None:
    y, saved = LpNorm().forward(torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(y, torch.tensor([[0.6, 0.8]]))
    # Along x nothing changes, across it a fifth of d_y comes back.
    torch.testing.assert_close(LpNorm().propagate(saved, torch.tensor([[-20.0, 15.0]]))[0], torch.tensor([[-4.0, 3.0]]))
    torch.testing.assert_close(LpNorm().propagate(saved, torch.tensor([[3.0, 4.0]]))[0], torch.zeros(1, 2))
    torch.testing.assert_close(RMSNorm(2, 0.0)(torch.tensor([1.0, 7.0])), torch.tensor([0.2, 1.4]))
    torch.testing.assert_close(MeanVarianceNorm((0,))(torch.tensor([1.0, 3.0])), torch.tensor([-1.0, 1.0]))


@pytest.mark.parametrize("block", [LpNorm(), LpNorm(order=1), LpNorm(order=3), RMSNorm(4), MeanVarianceNorm((1,))])
def test_zeros_stay_zeros_and_nothing_becomes_nan(block: LpNorm) -> None:
    y, saved = block.forward(torch.zeros(2, 4))
    assert torch.equal(y, torch.zeros(2, 4))
    assert torch.isfinite(block.propagate(saved, torch.ones(2, 4))[0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_squares_in_float32(dtype: torch.dtype) -> None:
    """The squares of 300 are beyond float16, their mean's root is not."""
    x, d_y = 300 * torch.randn(3, 512).to(dtype), torch.randn(3, 512).to(dtype)
    block = RMSNorm(512, 1e-6)
    block.weight = torch.rand(512).to(dtype)
    y, saved = block.forward(x)
    d_x, d_weight = block.propagate(saved, d_y)[0], block.gradients(saved, d_y)["weight"]
    assert y.dtype == d_x.dtype == d_weight.dtype == dtype
    wide = x.float().requires_grad_(), block.weight.float().requires_grad_()
    theirs = F.rms_norm(wide[0], (512,), wide[1], 1e-6)
    theirs.backward(d_y.float())
    for mine, other in ((y, theirs), (d_x, wide[0].grad), (d_weight, wide[1].grad)):
        torch.testing.assert_close(mine.float(), other.detach(), rtol=0.02, atol=0.02)  # bfloat16 has 8 bits


def test_without_epsilon_it_is_torchs() -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        x = 1e-3 * torch.randn(3, 8).to(dtype)
        torch.testing.assert_close(RMSNorm(8, affine=False)(x), F.rms_norm(x, (8,)))


@pytest.mark.parametrize(
    "make",
    [lambda: RMSNorm(()), lambda: RMSNorm(0), lambda: RMSNorm(3, -1.0), lambda: MeanVarianceNorm(epsilon=-1)]
    + [lambda order=order: LpNorm(order=order) for order in (0.5, float("inf"))],
)
def test_settings_that_make_no_sense(make) -> None:
    with pytest.raises(SettingError, match="came"):
        make()
