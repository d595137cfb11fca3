"""Rows of activations with thresholds."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x, spread


def shrink(x: Tensor, bias: float, lambd: float) -> Tensor:
    """ONNX's, by its definition."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0))


CASES: list[Case] = [
    Case(blocks.ThresholdedReLU, ((3, 4),), of_x(F.threshold, 1.0, 0.0)),
    Case(lambda: blocks.ThresholdedReLU(-0.5), ((2, 3, 2, 2),), of_x(F.threshold, -0.5, 0.0)),
    Case(blocks.Shrink, ((3, 4),), of_x(F.hardshrink)),
    Case(lambda: blocks.Shrink(0.7, 0.7), ((3, 4),), of_x(F.softshrink, 0.7)),
    Case(lambda: blocks.Shrink(-0.3, 0.2), ((2, 3, 2, 2),), of_x(shrink, -0.3, 0.2)),
    Case(lambda: blocks.Clamp(0.0, 6.0), lambda g: (spread((3, 5), g, -4, 9),), of_x(F.relu6)),
    Case(lambda: blocks.Clamp(-1.0), ((2, 3, 2, 2),), of_x(lambda x: torch.where(x > -1, x, -1.0))),
    Case(lambda: blocks.Clamp(high=0.5), ((3, 4),), of_x(lambda x: torch.where(x < 0.5, x, 0.5))),
    *[
        Case(
            lambda bounds=bounds: blocks.Clamp(*bounds, inclusive=True),
            ((3, 4),),
            lambda b, x: torch.clamp(x, b.low, b.high),
        )
        for bounds in ((-1.0, 1.0), (-1.0,), (None, 0.5))
    ],
]
