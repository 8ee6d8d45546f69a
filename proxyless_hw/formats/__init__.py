"""Other people's forms of a network: net.config, timm strings, ONNX graphs, weights, the zoo."""
