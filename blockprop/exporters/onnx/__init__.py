"""ONNX files: written from a network, block by block."""
