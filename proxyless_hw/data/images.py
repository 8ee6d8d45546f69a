"""Reads image files as a network takes them: upright, on white, 8-bit RGB."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from proxyless_hw.terminal.quiet import quiet_native_output

MAX_PIXELS: Final = 100_000_000
# A file's name does not bind Pillow: left to choose, it would hand PostScript to Ghostscript.
IMAGE_FORMATS: Final = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
BACKGROUND: Final = (255, 255, 255)
"""The colour behind transparent pixels."""

# Also those that are pictures to people but cannot be read here: they are named, not passed by.
IMAGE_SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw"),
    )
)
# What Pillow's readers raise on damaged files.
UNREADABLE: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, RuntimeError, LookupError, TypeError),
    *(AttributeError, AssertionError, ArithmeticError, MemoryError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
_DEEP_FORMATS: Final = ("PNG", "PPM")
_GREY_LEVELS: Final = {"L;2": 4, "L;4": 16}


def read_image(path: Path) -> Image.Image:
    """Reads the first frame of a picture file as 8-bit RGB.

    The picture is turned as its EXIF orientation says, transparent pixels show `BACKGROUND`, grey
    is repeated, and of 16-bit values the upper byte is kept.

    Raises:
        ValueError: its pixels have no agreed meaning in 8 bits, or they are too many.
        OSError, SyntaxError, ...: one of `UNREADABLE`, it cannot be read as an image.
    """
    if not path.stat().st_size:
        raise ValueError("the file is empty")
    # A stream, not a name: Pillow 13 turns a TIFF file twice where it maps the file into memory.
    with path.open("rb") as stream, Image.open(stream, formats=IMAGE_FORMATS) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
        stored = _stored_form(opened)
        file_format = opened.format
        _load_quietly(opened)
        image: Image.Image = ImageOps.exif_transpose(opened)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        if image.mode == "I" and file_format not in _DEEP_FORMATS:
            raise ValueError("32-bit pixels have no agreed range")
        image = _upper_bytes(image)
    elif isinstance(image.info.get("transparency"), int) and stored in _GREY_LEVELS:
        # Pillow spreads the few levels over 0 to 255, but not the one that is transparent.
        image.info["transparency"] *= 255 // (_GREY_LEVELS[stored] - 1)
    elif "transparency" in image.info and stored == "RGB;16B":
        raise ValueError("a transparent colour of 16 bits is not known among pixels of 8")
    return _on_background(image)


def explain(cause: BaseException) -> str:
    """Says why a file cannot be read, in one line."""
    if isinstance(cause, UnidentifiedImageError):
        return f"no image in one of the formats {', '.join(IMAGE_FORMATS)}"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    first = (str(cause).splitlines() or [""])[0][:200]
    plain = isinstance(cause, OSError | ValueError | SyntaxError)
    return first if plain and first else f"{type(cause).__name__}: {first}"


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Suppresses Pillow's warnings about unusual files."""
    logger = logging.getLogger("PIL")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _load_quietly(image: Image.Image) -> None:
    """Decodes a JPEG inside a TIFF file, whose decoder writes to standard error by itself."""
    if image.format != "TIFF" or image.info.get("compression") not in ("jpeg", "tiff_jpeg"):
        return
    failure = None
    with quiet_native_output():
        try:
            image.load()
        except UNREADABLE as cause:
            failure = cause  # raised outside: the block would print what it holds back
    if failure is not None:
        raise failure


def _stored_form(image: Image.Image) -> str:
    """How the file lays out its pixels ("L;4", "RGB;16B"); empty where the reader does not say."""
    tiles = getattr(image, "tile", None)
    found = tiles[0][3] if tiles else ""
    return found if isinstance(found, str) else ""


def _upper_bytes(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, with an alpha channel where one value is transparent."""
    deep = np.asarray(image).astype(np.int64)
    if deep.min() < 0 or deep.max() > 65535:
        raise ValueError(f"pixels from {deep.min()} to {deep.max()} do not fit 16 bits")
    grey = Image.fromarray((deep >> 8).astype(np.uint8))
    if "transparency" in image.info:
        opaque = np.where(deep == image.info["transparency"], 0, 255).astype(np.uint8)
        grey.putalpha(Image.fromarray(opaque))
    return grey


def _on_background(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    seen = image.convert("RGBA")
    behind = Image.new("RGBA", seen.size, (*BACKGROUND, 255))
    return Image.alpha_composite(behind, seen).convert("RGB")
