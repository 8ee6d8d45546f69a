"""The ProxylessNAS search: supernet, exact gate gradients, constrained objectives, derivation."""
