"""What joins stages: a run to model files, the whole loop, the demo."""
