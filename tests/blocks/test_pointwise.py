"""Activations, elementary functions and softmaxes: kinks, extreme inputs, hand-worked numbers, errors."""

import math

import pytest
import torch

from blockprop.blocks import (
    ELU,
    GELU,
    SELU,
    Abs,
    Clamp,
    Dropout,
    Exp,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Log,
    LogSoftmax,
    Pow,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Sqrt,
    Tanh,
)
from blockprop.engine.block import Block
from blockprop.errors import BlockpropError, SettingError, ShapeError


def slope(block: Block, *places: float, dtype: torch.dtype = torch.float64) -> list[float]:
    """The derivative at these places."""
    for name, tensor in block.parameters.items():
        setattr(block, name, tensor.to(dtype))
    x = torch.tensor(places, dtype=dtype)
    y, saved = block.forward(x)
    (d_x,) = block.propagate(saved, torch.ones_like(y))
    assert d_x.shape == x.shape
    assert d_x.dtype == dtype
    return d_x.tolist()


@pytest.mark.parametrize(
    ("block", "kink", "expected"),
    [
        (ReLU(), 0.0, 0.0),
        (LeakyReLU(0.2), 0.0, 0.2),
        (PReLU(), 0.0, 0.25),
        (ELU(0.5), 0.0, 0.5),
        (ELU(), 0.0, 1.0),
        (SELU(), 0.0, SELU.SCALE * SELU.ALPHA),
        (HardSigmoid(), -3.0, 0.0),
        (HardSigmoid(), 3.0, 0.0),
        (HardSwish(), -3.0, 0.0),
        (HardSwish(), 3.0, 1.0),
        (Clamp(0.0, 6.0), 0.0, 0.0),
        (Clamp(0.0, 6.0), 6.0, 0.0),
        (Abs(), 0.0, 0.0),
        (Pow(0), 0.0, 0.0),
        (Pow(1), 0.0, 1.0),
        (Pow(2), 0.0, 0.0),
        (Sqrt(), 0.0, math.inf),
        (Pow(0.5), 0.0, math.inf),
        (GELU(), 0.0, 0.5),
        (GELU("tanh"), 0.0, 0.5),
        (SiLU(), 0.0, 0.5),
    ],
    ids=lambda value: repr(value) if isinstance(value, Block) else None,
)
def test_derivatives_at_kinks_and_zeros_are_those_documented(block: Block, kink: float, expected: float) -> None:
    assert slope(block, kink) == pytest.approx([expected], abs=1e-15)


# σ(ln 3) = 3/4, so σ' = 3/16. tanh(ln 2) = 3/5, so tanh' = 16/25. A softplus is steep as σ.
@pytest.mark.parametrize(
    ("block", "x", "expected"),
    [
        (Sigmoid(), math.log(3), 3 / 16),
        (Tanh(), math.log(2), 16 / 25),
        (Softplus(2.0), math.log(3) / 2, 3 / 4),
        (SiLU(), math.log(3), 3 / 4 + math.log(3) * 3 / 16),
        (ELU(), math.log(0.5), 0.5),
        (HardSwish(), 0.0, 0.5),
        (HardSigmoid(), 1.0, 1 / 6),
        (Exp(), math.log(7), 7.0),
        (Log(), 4.0, 0.25),
        (Sqrt(), 4.0, 0.25),
        (Pow(3), -2.0, 12.0),
        (Pow(-1), 2.0, -0.25),
    ],
    ids=lambda value: repr(value) if isinstance(value, Block) else None,
)
def test_slopes_worked_by_hand(block: Block, x: float, expected: float) -> None:
    assert slope(block, x) == pytest.approx([expected], rel=1e-14)


def test_prelu_by_hand() -> None:
    block = PReLU(2)
    block.weight = torch.tensor([0.5, 0.1])
    x = torch.tensor([[-2.0, 3.0], [4.0, -5.0], [-1.0, -10.0]])
    y, saved = block.forward(x)
    assert y.tolist() == [[-1.0, 3.0], [4.0, -0.5], [-0.5, -1.0]]
    d_y = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    torch.testing.assert_close(block.propagate(saved, d_y)[0], torch.tensor([[0.5, 2.0], [3.0, 0.4], [2.5, 0.6]]))
    # d_weight: −2·1 − 1·5 and −5·4 − 10·6
    torch.testing.assert_close(block.gradients(saved, d_y)["weight"], torch.tensor([-7.0, -80.0]))


def test_softmax_by_hand() -> None:
    """Shares 1/4 and 3/4: d_x = y ∘ (d_y − Σ d_y y) with Σ d_y y = 1/4."""
    y, saved = Softmax().forward(torch.tensor([[0.0, math.log(3)]], dtype=torch.float64))
    torch.testing.assert_close(y, torch.tensor([[0.25, 0.75]], dtype=torch.float64))
    (d_x,) = Softmax().propagate(saved, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(d_x, torch.tensor([[3 / 16, -3 / 16]], dtype=torch.float64))


# (block, the limits of its slope far left and far right)
FAR = [
    (ReLU(), 0, 1),
    (LeakyReLU(), 0.01, 1),
    (PReLU(), 0.25, 1),
    (ELU(), 0, 1),
    (ELU(0.5), 0, 1),
    (SELU(), 0, SELU.SCALE),
    (GELU(), 0, 1),
    (GELU("tanh"), 0, 1),
    (SiLU(), 0, 1),
    (Sigmoid(), 0, 0),
    (Tanh(), 0, 0),
    (Softplus(), 0, 1),
    (Softplus(3.0, 5.0), 0, 1),
    (HardSigmoid(), 0, 0),
    (HardSwish(), 0, 1),
    (Clamp(-1.0, 1.0), 0, 0),
    (Abs(), -1, 1),
]


@pytest.mark.parametrize(("block", "left", "right"), FAR, ids=lambda v: repr(v) if isinstance(v, Block) else None)
@pytest.mark.parametrize("far", [100.0, 1e4])
def test_slopes_far_out_are_the_limits(block: Block, left: float, right: float, far: float) -> None:
    found = slope(block, -far, far, dtype=torch.float32)
    assert found == pytest.approx([left, right], rel=1e-6, abs=1e-7)
    assert torch.isfinite(block(torch.tensor([-far, far]))).all()


def test_exp_far_out_is_zero_and_infinity_without_nan() -> None:
    assert slope(Exp(), -1e4, 1e4, dtype=torch.float32) == [0.0, math.inf]


@pytest.mark.parametrize("size", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softmaxes_of_extreme_inputs(size: float, dtype: torch.dtype) -> None:
    x = size * torch.randn(50, 20, dtype=dtype).clamp(-1, 1)
    d_y = torch.randn(50, 20, dtype=dtype)
    y, saved = Softmax().forward(x)
    # Rows of 20 shares, each rounded once.
    torch.testing.assert_close(y.sum(1), torch.ones(50, dtype=dtype), rtol=0, atol=20 * torch.finfo(dtype).eps)
    for block in (Softmax(), LogSoftmax()):
        y, saved = block.forward(x)
        (d_x,) = block.propagate(saved, d_y)
        assert torch.isfinite(y).all()
        assert torch.isfinite(d_x).all()
        # Adding the same number to a whole row changes nothing, so that each row of d_x sums to 0.
        torch.testing.assert_close(d_x.sum(1), torch.zeros(50, dtype=dtype), rtol=0, atol=200 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("block", [block for block, _, _ in FAR if not isinstance(block, Abs)], ids=repr)
def test_a_nan_never_turns_into_a_number_that_hides_it(block: Block) -> None:
    """The output is NaN, and the derivative is NaN or not 0."""
    assert math.isnan(float(block(torch.tensor([math.nan]))))
    assert slope(block, math.nan) != [0.0]


@pytest.mark.parametrize("size", [1e-30, 1e-6, 1e-3, 0.1, 3.0, 6.0])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_keeps_its_digits_near_zero_and_in_its_tails(approximate: str, size: float) -> None:
    x = torch.tensor([-size, size], dtype=torch.float64, requires_grad=True)
    torch.nn.functional.gelu(x, approximate=approximate).sum().backward()
    found = slope(GELU(approximate), -size, size, dtype=torch.float32)
    assert found == pytest.approx(x.grad.tolist(), abs=1e-6)  # some eight roundings of numbers around 1, each 6e-8


def test_the_softplus_is_a_straight_line_above_its_threshold() -> None:
    assert slope(Softplus(2.0, 1.0), 0.4, 0.6) == [1 / (1 + math.exp(-0.8)), 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: LeakyReLU(-0.1),
        lambda: LeakyReLU(math.nan),
        lambda: PReLU(0),
        lambda: ELU(-1.0),
        lambda: GELU("erf"),
        lambda: Softplus(0.0),
        lambda: Clamp(),
        lambda: Clamp(1.0, 1.0),
        lambda: Pow(math.inf),
        lambda: Dropout(-0.1),
        lambda: Dropout(1.1),
    ],
)
def test_nonsense_settings_are_refused(make) -> None:
    with pytest.raises(SettingError, match=r"came|give"):
        make()


def test_errors_say_what_was_expected_and_what_came() -> None:
    with pytest.raises(ShapeError, match=r"axis 1, came \(3,\)"):
        Softmax()(torch.zeros(3))
    with pytest.raises(ShapeError, match=r"\(n, 3, \.\.\.\), came \(2, 4\)"):
        PReLU(3)(torch.zeros(2, 4))
    with pytest.raises(BlockpropError, match=r"none, tanh"):
        GELU("other")
