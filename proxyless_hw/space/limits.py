"""Bounds that hold for every space and network, whatever file they come from."""

from __future__ import annotations

MAX_CANDIDATES = 65_536
"""Candidates over all positions: far above the largest space, and built in seconds."""
MAX_CHANNELS = 65536
MAX_POSITIONS = 4096
MAX_RESOLUTION = 8192

MAX_STRIDE = 32

MAX_IMAGE_CHANNELS = 4
"""Channels of a network's input."""
