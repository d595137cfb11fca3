"""Examples with a batch of one, which torch takes for fixed, so that the graph is made with another batch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.importers import from_torch
from tests.importers.against_torch import assert_gradients_equal, assert_outputs_equal
from tests.importers.test_free_axes import Function


def counted(x: Tensor) -> Tensor:
    return x.softmax(1) * torch.tensor(x.shape[0], dtype=x.dtype)


def row_by_row(x: Tensor) -> Tensor:
    return torch.stack([row.softmax(0) * (i + 2) for i, row in enumerate(x.unbind(0))])


def alone_or_not(x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] == 1 else x.sin()


def last_of_two(x: Tensor) -> Tensor:
    table = torch.ones(2, 1, dtype=x.dtype).cumsum(0)
    return x * table[torch.tensor([x.shape[0] - 1])]


@pytest.mark.parametrize("function", [counted, row_by_row, alone_or_not, last_of_two])
@pytest.mark.filterwarnings("ignore:ax.* fixed")
def test_what_cannot_have_another_batch_is_imported_with_one(function: Any) -> None:
    module = Function(function)
    network = from_torch(module, torch.randn(1, 4, dtype=torch.float64))
    assert network.meta["free"] == {"x0": [1]}
    for size in (4, 7):
        x = torch.randn(1, size, dtype=torch.float64)
        assert_outputs_equal(network, module, (x,), 1e-12)
        assert_gradients_equal(network, module, (x,), 1e-12)


@pytest.mark.parametrize(
    ("function", "why"), [(counted, "a table"), (row_by_row, "from aten"), (alone_or_not, "decides")]
)
def test_why_the_batch_is_fixed_is_said(function: Any, why: str) -> None:
    with pytest.warns(UserWarning, match=f"axis 0 of 'x0' is fixed at 1: .*{why}"):
        from_torch(Function(function), torch.randn(1, 4))
