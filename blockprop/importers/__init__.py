"""Networks from elsewhere: one file for each format."""

from blockprop.importers.onnx.from_onnx import from_onnx
from blockprop.importers.torch.from_torch import from_torch

__all__ = ["from_onnx", "from_torch"]
