"""Matrix products by the faster of the two libraries that torch carries.

On CPUs torch multiplies float32 matrices with MKL, which on AMD processors uses half of the vector width. oneDNN,
which torch carries as well, uses all of it (about twice the speed on an AMD EPYC with AVX-512) but takes some ten
microseconds to start. So large products go to oneDNN and small ones to MKL. Both compute in float32.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGE = 2_000_000
"""Multiplications above which oneDNN's start is worth it."""

_onednn: Any = getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x weightᵀ + bias, for x: (..., i), weight: (o, i), bias: (o,); for products that are known to be LARGE."""
    if _suits_onednn(x, weight):
        return _onednn(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix product a b, for a: (n, k), b: (k, m)."""
    if a.numel() * b.size(1) > LARGE and _suits_onednn(a, b):
        return _onednn(a, b.t(), None, "none", [], "")
    return torch.mm(a, b)


def _suits_onednn(a: Tensor, b: Tensor) -> bool:
    return bool(_onednn and a.is_cpu and a.dtype == b.dtype == torch.float32 and torch.backends.mkldnn.enabled)
