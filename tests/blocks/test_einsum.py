"""Einstein's notation beyond the common checks: numbers by hand, random equations, errors."""

import random

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Einsum
from blockprop.errors import SettingError, ShapeError


def inputs(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def test_a_matrix_product_by_hand() -> None:
    a, b, d_y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]), torch.tensor([[10.0]])
    block = Einsum("ij,jk->ik")
    y, saved = block.forward(a, b)
    d_a, d_b = block.propagate(saved, d_y)
    assert y.tolist() == [[11]]
    assert d_a.tolist() == [[30, 40]]
    assert d_b.tolist() == [[10], [20]]


def test_a_trace_by_hand() -> None:
    y, saved = Einsum("ii").forward(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    (d_x,) = Einsum("ii").propagate(saved, torch.tensor(7.0))
    assert y.item() == 5
    assert d_x.tolist() == [[7, 0], [0, 7]]


def random_equation(draw: random.Random) -> tuple[str, list[tuple[int, ...]]]:
    """One to three inputs of up to three letters, some repeated, some of size 1, with or without "..." and "->"."""
    sizes = {c: draw.choice((1, 2, 3)) for c in "abcD"}
    terms, shapes = [], []
    for _ in range(draw.randint(1, 3)):
        letters = draw.choices("abcD", k=draw.randint(0, 3))
        once = {c: 1 if draw.random() < 0.1 else sizes[c] for c in letters}
        shape, term = [once[c] for c in letters], "".join(letters)
        if draw.random() < 0.3:
            place, extra = draw.randint(0, len(term)), (2, 1, 2)[draw.randint(0, 3) :]
            term, shape = term[:place] + "..." + term[place:], [*shape[:place], *extra, *shape[place:]]
        terms.append(term)
        shapes.append(tuple(shape))
    equation, known = ",".join(terms), sorted(set("".join(terms)) - {"."})
    if draw.random() < 0.8:
        kept = draw.sample(known, draw.randint(0, len(known)))
        kept.insert(draw.randint(0, len(kept)), "..." if draw.random() < 0.7 else "")
        equation += "->" + "".join(kept)
    return equation, shapes


@pytest.mark.parametrize("seed", range(150))
def test_random_equations_equal_torch(seed: int) -> None:
    equation, shapes = random_equation(random.Random(seed))
    given, block = inputs(*shapes, seed=seed), Einsum(equation)
    y, saved = block.forward(*given)
    (d_y,) = inputs(y.shape, seed=seed + 1)
    theirs = [x.clone().requires_grad_() for x in given]
    expected = torch.einsum(equation, *theirs)
    expected.backward(d_y)
    torch.testing.assert_close(y, expected.detach())
    for mine, other in zip(block.propagate(saved, d_y), theirs, strict=True):
        torch.testing.assert_close(mine, other.grad)


@pytest.mark.parametrize("equation", ["ij,jk->ikk", "ij->k", "i2->i", "i.->i", "......->", "i->i->i", "ij;jk", 3, None])
def test_equations_that_make_no_sense(equation: object) -> None:
    with pytest.raises(SettingError, match="equation"):
        Einsum(equation)


@pytest.mark.parametrize(
    ("equation", "shapes", "says"),
    [
        ("ij,jk", ((2, 3),), r"expected 2 inputs, came 'ij,jk' and shapes \(2, 3\)"),
        ("ij,jk", ((2, 3), (4, 2)), "equal sizes for equal letters"),
        ("ii", ((3, 1),), "equal sizes for equal letters"),
        ("...i,...i", ((2, 3), (3, 3)), "equal sizes for equal letters"),
        ("ij", ((2, 3, 4),), "as many axes as letters"),
        ("ij...", ((2,),), "as many axes as letters"),
        ("...", ((1,) * 53,), "at most 52 different axes"),
    ],
)
def test_einsum_names_shapes_that_do_not_fit(equation: str, shapes: tuple, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        Einsum(equation)(*(torch.zeros(shape) for shape in shapes))
