"""Networks from elsewhere: `torch/` and `onnx/` read a model; `aten/` and `onnx_operators/` handle its operators.

What a handler gets stands at the root: the call of the operator, and the graph that it adds nodes to.
"""

from blockprop.importers.onnx.from_onnx import from_onnx
from blockprop.importers.torch.from_torch import from_torch

__all__ = ["from_onnx", "from_torch"]
