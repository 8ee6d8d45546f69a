"""A folder of photographs of three things, of odd sizes and several file formats."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

NAMES: Final = ("cross", "disk", "triangle")
SIZES: Final = ((640, 480), (480, 640), (1024, 333), (257, 1001), (800, 600), (91, 64))


def photo(label: int, draw: np.random.Generator, choose: random.Random) -> Image.Image:
    """A thing in a colour of its own, somewhere near the middle of a dim background."""
    width, height = choose.choice(SIZES)
    coarse = draw.integers(0, 80, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height))
    colour = tuple(int(value) for value in draw.integers(120, 255, 3))
    side = min(width, height)
    radius = side * choose.uniform(0.25, 0.42)
    x, y = (size / 2 + choose.uniform(-0.08, 0.08) * side for size in (width, height))
    pen = ImageDraw.Draw(image)
    if NAMES[label] == "disk":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif NAMES[label] == "triangle":
        corners = [(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
        pen.polygon(corners, fill=colour)
    else:
        thin = radius / 3
        pen.rectangle((x - radius, y - thin, x + radius, y + thin), fill=colour)
        pen.rectangle((x - thin, y - radius, x + thin, y + radius), fill=colour)
    return image


def make_photos(folder: Path, per_class: int, seed: int = 0) -> Path:
    """Writes so many photographs of each class; every fifth is a PNG, the rest are JPEG."""
    draw, choose = np.random.default_rng(seed), random.Random(seed)
    for label, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            ending = "png" if number % 5 == 0 else "jpg"
            photo(label, draw, choose).save(folder / name / f"IMG_{number:04d}.{ending}")
    return folder
