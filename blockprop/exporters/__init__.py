"""Networks to elsewhere: `onnx/` writes the file, `onnx_operators/` has a handler for each block.

What a handler gets stands at the root: the Writing of a node, its Operands, and the Writer of the file.
"""

from blockprop.exporters.onnx.to_onnx import to_onnx

__all__ = ["to_onnx"]
