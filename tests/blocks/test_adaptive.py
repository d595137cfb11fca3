"""Adaptive pooling beyond the common checks: errors."""

import pytest
import torch

from blockprop.blocks import AdaptiveAvgPool3d
from blockprop.errors import ShapeError


def test_errors() -> None:
    with pytest.raises(ShapeError, match=r"expected \(n, c, d, h, w\) with some places"):
        AdaptiveAvgPool3d(2)(torch.zeros(1, 1, 4, 0, 5))
