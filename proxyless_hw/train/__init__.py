"""Training and evaluating one architecture."""
