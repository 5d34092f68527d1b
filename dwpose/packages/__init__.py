"""The OpenCV and ONNX Runtime of this Python: import them, and say what to do where they are missing or torn."""
