"""How a picture becomes the input of a network, before normalisation: as data, for a model file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from proxyless_hw.storage.documents import JsonObject

AS_GIVEN: Final = "input as the data set gives it"
"""What a file says where only the data set knows how its images came to their shape."""


@dataclass(frozen=True)
class Resize:
    """Scaling by antialiased bilinear interpolation.

    Attributes:
        rule: ``shorter side`` keeps the shape, the longer side is rounded down; ``both sides``
            makes a square of any shape.
        pixels: what that side, or both, become.
    """

    rule: Literal["shorter side", "both sides"]
    pixels: int


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """From a stored picture to RGB values from 0 to 255 at the network's resolution.

    Attributes:
        resize: comes first.
        crop: side of the square cut out of the middle afterwards; None: nothing is cut off.
        orientation: how the picture is turned before.
        transparency: what shows through transparent pixels; None where there are no such.
        interpolation: of the scaling.
    """

    resize: Resize
    crop: int | None = None
    orientation: str = "as stored"
    transparency: str | None = None
    interpolation: str = "bilinear, antialiased"

    def to_dict(self) -> JsonObject:
        """Plain values for the metadata of a model file."""
        return {
            "orientation": self.orientation,
            "transparency": self.transparency,
            "resize": {"rule": self.resize.rule, "pixels": self.resize.pixels},
            "interpolation": self.interpolation,
            "crop": None if self.crop is None else {"rule": "centre", "pixels": self.crop},
        }


def as_given() -> JsonObject:
    """What `Preparation.to_dict` gives, where the data set alone knows."""
    return {**unknown(), "resize": AS_GIVEN}


def unknown() -> JsonObject:
    """The same keys for a network without data."""
    keys = ("orientation", "transparency", "resize", "interpolation", "crop")
    return dict.fromkeys(keys)
