"""What the runtimes of the host share: clock, caches, pinning, energy."""
