"""Pooling by averages beyond the common checks: numbers by hand, errors."""

import pytest
import torch

from blockprop.blocks import AvgPool2d
from blockprop.errors import ShapeError


def test_averages_by_hand() -> None:
    """kernel 3, stride 2, padding 1: the first window lies by one column and one row in the padding."""
    x, d_y = torch.ones(1, 1, 3, 3), torch.tensor([[[[9.0, 0.0], [0.0, 18.0]]]])
    block = AvgPool2d(3, 2, 1)
    y, saved = block.forward(x)
    torch.testing.assert_close(y, torch.full((1, 1, 2, 2), 4 / 9))
    assert block.propagate(saved, d_y)[0].tolist() == [[[[1, 1, 0], [1, 3, 2], [0, 2, 2]]]]
    block = AvgPool2d(3, 2, 1, count_include_pad=False)
    y, saved = block.forward(x)
    torch.testing.assert_close(y, torch.ones(1, 1, 2, 2))
    assert block.propagate(saved, d_y)[0].tolist() == [[[[2.25, 2.25, 0], [2.25, 6.75, 4.5], [0, 4.5, 4.5]]]]


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"the window of 3 does not fit into \(1, 1, 2, 5\)"):
        AvgPool2d(3)(torch.zeros(1, 1, 2, 5))
