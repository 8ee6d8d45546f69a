"""The images that exported files are calibrated on and compared with torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.export.preparation import unknown
from proxyless_hw.export.runtimes import Images
from proxyless_hw.storage.documents import JsonObject

FLOAT_IMAGES: Final = 64
"""Images without labels on which a float file is compared: its error is rounding, the same on every
image. With labels every file is run on all images, so that accuracies can be compared."""


@dataclass(frozen=True, kw_only=True)
class ExportData:
    """Images that files are calibrated on and checked with.

    Attributes:
        images: (N, C, H, W) float32, normalised, at the exported resolution.
        labels: (N,) classes; None for images without labels.
        calibration: images as above that set the ranges of int8; not the ones it is judged by.
        mean, std: their normalisation, per channel of values from 0 to 1.
        class_names: in output order; None when unknown.
        source: what `images` are.
        preparation: how they got their shape, for the metadata (`Preparation.to_dict`).
    """

    images: Images
    labels: NDArray[np.int64] | None = None
    calibration: Images | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    source: str
    preparation: JsonObject = field(default_factory=unknown)


def random_data(
    resolution: int, seed: int = 0, count: int = FLOAT_IMAGES, channels: int = 3
) -> ExportData:
    """Standard normal images from a seed, for networks that come without data."""
    generator = np.random.default_rng(seed)
    shape = (2, count, channels, resolution, resolution)
    images, calibration = generator.standard_normal(shape, dtype=np.float32)
    return ExportData(
        images=images,
        calibration=calibration,
        source=f"normal noise (seed {seed})",
    )
