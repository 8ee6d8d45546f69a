"""Model files: ONNX and TFLite writers, quantisation, and the check against torch."""
