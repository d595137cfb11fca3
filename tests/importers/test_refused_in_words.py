"""What no block can do, and what a module may be written like instead."""

from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.errors import UnsupportedError
from blockprop.importers import from_torch
from tests.importers.test_free_axes import Function


def expert(x: Tensor) -> Tensor:
    y, chosen = torch.zeros_like(x), x.argmax(-1)
    for number in range(2):
        rows = torch.where(chosen == number)[0]
        y.index_add_(0, rows, x[rows] * number)
    return y


@pytest.mark.parametrize(
    "function",
    [expert, lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: x.masked_select(x > 0), lambda x: x.unique()],
)
def test_elements_chosen_by_values_are_refused_in_one_sentence(function: Any) -> None:
    with pytest.raises(
        UnsupportedError, match=r"^Function works on elements that it chooses by values .* at .*\.py:\d+"
    ):
        from_torch(Function(function), torch.randn(5, 3))


def test_a_tensor_to_write_into_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedError, match="given as out=; take what the function returns"):
        from_torch(Function(lambda x: torch.add(x, 1, out=torch.empty_like(x))), torch.randn(2, 3))
