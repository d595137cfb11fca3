"""ONNX files: read, checked, then interpreted operator by operator."""
