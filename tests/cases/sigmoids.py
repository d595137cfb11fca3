"""Rows of S-shaped activations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x, spread


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """ONNX's, by its definition."""
    return F.hardtanh(alpha * x + beta, 0, 1)  # whose derivative is 0 at both bends


CASES: list[Case] = [
    Case(blocks.GELU, ((3, 4),), of_x(F.gelu)),
    Case(lambda: blocks.GELU("tanh"), ((2, 3, 2, 2),), of_x(F.gelu, approximate="tanh")),
    Case(blocks.SiLU, ((3, 4),), of_x(F.silu)),
    Case(blocks.Sigmoid, ((3, 4),), of_x(torch.sigmoid)),
    Case(blocks.Tanh, ((3, 4),), of_x(torch.tanh)),
    Case(blocks.Softplus, ((3, 4),), of_x(F.softplus)),
    Case(lambda: blocks.Softplus(2.0, 3.0), ((2, 3, 2, 2),), of_x(F.softplus, 2.0, 3.0)),
    Case(  # torch's own F.hardsigmoid is no oracle in float64: its backward rounds 1/6 to float32
        blocks.HardSigmoid, lambda g: (spread((3, 4), g, -5, 5),), of_x(lambda x: F.relu6(x + 3) / 6)
    ),
    Case(lambda: blocks.HardSigmoid(0.2, 0.4), lambda g: (spread((3, 4), g, -5, 5),), of_x(hard_sigmoid, 0.2, 0.4)),
    Case(lambda: blocks.HardSigmoid(-0.5), lambda g: (spread((3, 4), g, -5, 5),), of_x(hard_sigmoid, -0.5, 0.5)),
    Case(blocks.HardSwish, lambda g: (spread((3, 4), g, -5, 5),), of_x(F.hardswish)),
]
