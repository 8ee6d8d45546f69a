"""PyTorch modules: op builders, networks built from architectures, cost counting."""
