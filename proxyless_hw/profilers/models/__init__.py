"""An op, a network or a file made ready for a runtime."""
