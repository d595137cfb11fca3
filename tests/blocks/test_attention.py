"""Attention beyond the common checks: numbers by hand, rows that may look at nothing, half precision, errors."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Attention
from blockprop.errors import SettingError, ShapeError


def inputs(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def test_attention_by_hand() -> None:
    """Scores log 3 and 0 make the weights 3/4 and 1/4."""
    q, k, v = torch.tensor([[1.0]]), torch.tensor([[1.0], [0.0]]), torch.tensor([[4.0], [8.0]])
    block = Attention(scale=math.log(3))
    y, saved = block.forward(q, k, v)
    d_q, d_k, d_v = block.propagate(saved, torch.tensor([[1.0]]))
    assert y.tolist() == [[pytest.approx(5)]]
    assert d_v.tolist() == [[pytest.approx(0.75)], [pytest.approx(0.25)]]
    assert d_k.tolist() == [[pytest.approx(-0.75 * math.log(3))], [pytest.approx(0.75 * math.log(3))]]
    assert d_q.tolist() == [[pytest.approx(-0.75 * math.log(3))]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", [bool, float])
@pytest.mark.parametrize("heads", [(), (2, 3)])
def test_a_row_that_may_look_at_nothing_gives_zero_as_torch_does(
    dtype: torch.dtype, kind: type, heads: tuple[int, ...]
) -> None:
    tensors = inputs((*heads, 3, 4), (*heads, 5, 4), (*heads, 5, 2), dtype=dtype)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]).bool()
    if kind is float:
        mask = torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, -math.inf)
    y, saved = Attention().forward(*tensors, mask)
    (d_y,) = inputs(y.shape, dtype=dtype, seed=1)
    *found, d_mask = Attention().propagate(saved, d_y)

    theirs = [x.clone().requires_grad_() for x in tensors]
    expected = F.scaled_dot_product_attention(*theirs, attn_mask=mask)
    expected.backward(d_y)
    assert (y[..., 1, :] == 0).all()
    torch.testing.assert_close(y, expected.detach())
    for mine, other in zip(found, theirs, strict=True):
        torch.testing.assert_close(mine, other.grad)
    assert (d_mask is None) == (kind is bool)
    assert d_mask is None or (d_mask.isfinite().all() and (d_mask[1] == 0).all())


def test_nothing_to_look_at_gives_zeros() -> None:
    q, k, v = inputs((2, 3, 4), (2, 0, 4), (2, 0, 5))
    y, saved = Attention().forward(q, k, v)
    assert torch.equal(y, torch.zeros(2, 3, 5, dtype=torch.float64))
    assert [d.shape for d in Attention().propagate(saved, y)] == [q.shape, k.shape, v.shape]


def test_causal_is_a_mask_of_what_came_before() -> None:
    q, k, v = inputs((2, 3, 4), (2, 5, 4), (2, 5, 2))
    earlier = torch.arange(5) <= torch.arange(3)[:, None]
    torch.testing.assert_close(Attention(causal=True)(q, k, v), Attention()(q, k, v, earlier))


def test_grouped_heads_are_repeated_ones() -> None:
    q, k, v = inputs((2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 3))
    repeated = Attention()(q, k.repeat_interleave(3, 1), v.repeat_interleave(3, 1))
    torch.testing.assert_close(Attention(grouped=True)(q, k, v), repeated)


def test_forward_saves_the_weights_and_nothing_else_of_its_own() -> None:
    given = inputs((2, 4, 6, 8), (2, 4, 7, 8), (2, 4, 7, 8), (6, 7))
    _, saved = Attention(causal=True).forward(*given)
    own = [x for x in saved if isinstance(x, Tensor) and not any(x is a for a in given)]
    assert [x.shape for x in own] == [(2, 4, 6, 7)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_in_half_precision(dtype: torch.dtype) -> None:
    given = inputs((2, 3, 4), (2, 5, 4), (2, 5, 4), (3, 5), dtype=torch.float32)
    y, saved = Attention().forward(*(x.to(dtype) for x in given))
    expected, their_saved = Attention().forward(*given)
    found, wanted = Attention().propagate(saved, y), Attention().propagate(their_saved, expected)
    for mine, theirs in zip((y, *found), (expected, *wanted), strict=True):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.float(), theirs, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("settings", "shapes", "says"),
    [
        (
            {},
            ((4,), (5, 4), (5, 2)),
            r"\(..., m, d\) and \(..., m, e\), came \(4,\), \(5, 4\), \(5, 2\)",
        ),
        ({}, ((3, 0), (5, 0), (5, 2)), "expected"),
        ({}, ((3, 4), (5, 4), (6, 2)), "expected"),
        ({}, ((2, 3, 4), (3, 5, 4), (5, 2)), "expected"),
        ({"grouped": True}, ((3, 4), (5, 4), (5, 2)), r"\(..., g·h, l, d\)"),
        ({"grouped": True}, ((3, 3, 4), (2, 5, 4), (2, 5, 2)), "expected"),
        ({"grouped": True}, ((4, 3, 4), (2, 5, 4), (1, 5, 2)), "expected"),
        ({"grouped": True}, ((4, 3, 4), (0, 5, 4), (0, 5, 2)), "expected"),
        ({}, ((3, 4), (5, 4), (5, 2), (3, 4)), r"a mask that broadcasts to \(3, 5\), came \(3, 4\)"),
        ({}, ((3, 4), (5, 4), (5, 2), (2, 3, 5)), r"a mask that broadcasts to \(3, 5\), came \(2, 3, 5\)"),
    ],
)
def test_attention_names_shapes_that_do_not_fit(settings: dict, shapes: tuple, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        Attention(**settings)(*(torch.zeros(shape) for shape in shapes))


def test_other_nonsense_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"booleans or real numbers, came torch\.int64"):
        Attention()(*inputs((3, 4), (5, 4), (5, 2)), torch.ones(3, 5, dtype=torch.int64))
    with pytest.raises(SettingError, match="finite, came nan"):
        Attention(scale=math.nan)
