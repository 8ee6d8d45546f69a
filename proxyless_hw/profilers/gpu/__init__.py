"""NVIDIA GPUs: ONNX Runtime, TensorRT and torch."""
