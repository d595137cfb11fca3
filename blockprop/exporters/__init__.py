"""Networks to elsewhere: one file for each format."""

from blockprop.exporters.onnx.to_onnx import to_onnx

__all__ = ["to_onnx"]
