"""Reading one picture: orientation, transparency, depth, frames; against an independent reading.

The reference turns pixels with numpy by the EXIF standard's table, and blends by the formula.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.folder import IMAGENET_MEAN, IMAGENET_STD
from proxyless_hw.data.images import UNREADABLE, explain, quiet_pillow, read_image
from proxyless_hw.data.load import load_data

# What stands where in the stored rows and columns, and how to see it upright (EXIF 2.3, tag 274).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags.tobytes()


def drawn(
    draw: np.random.Generator, mode: str, size: tuple[int, int]
) -> tuple[Image.Image, np.ndarray]:
    """A picture of a mode, and the RGB values from 0 to 255 that are to be seen of it."""
    width, height = size
    grey = draw.integers(0, 256, (height, width), dtype=np.uint8)
    colour = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
    alpha = draw.choice(np.array([0, 40, 128, 255], np.uint8), (height, width))
    repeated = np.repeat(grey[..., None], 3, 2)
    if mode == "1":
        return Image.fromarray(grey > 127), np.where(repeated > 127, 255, 0)
    if mode == "L":
        return Image.fromarray(grey), repeated
    if mode == "LA":
        return Image.fromarray(np.stack([grey, alpha], 2), "LA"), on_white(repeated, alpha)
    if mode == "RGB":
        return Image.fromarray(colour), colour
    if mode == "RGBA":
        return Image.fromarray(np.dstack([colour, alpha]), "RGBA"), on_white(colour, alpha)
    if mode == "I;16":
        deep = draw.integers(0, 65536, (height, width), dtype=np.uint16)
        return Image.fromarray(deep), np.repeat((deep // 256)[..., None], 3, 2)
    assert mode in ("P", "P one", "P all")
    palette = draw.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(grey)
    image.putpalette(palette.tobytes())
    seen = palette[grey]
    if mode == "P one":
        image.info["transparency"] = int(grey[0, 0])
        seen = on_white(seen, np.where(grey == grey[0, 0], 0, 255))
    if mode == "P all":
        opacity = draw.integers(0, 256, 256, dtype=np.uint8)
        image.info["transparency"] = opacity.tobytes()
        seen = on_white(seen, opacity[grey])
    return image, seen


FORMS = [
    *[(mode, "PNG") for mode in ("1", "L", "LA", "RGB", "RGBA", "I;16", "P", "P one", "P all")],
    *[(mode, "TIFF") for mode in ("1", "L", "LA", "RGB", "RGBA", "P")],
    *[(mode, "WEBP") for mode in ("RGB", "RGBA")],
    *[(mode, "BMP") for mode in ("1", "L", "RGB")],
    *[(mode, "PPM") for mode in ("1", "L", "RGB", "I;16")],
    *[(mode, "GIF") for mode in ("L", "P", "P one")],
]
TURNED = ("PNG", "TIFF", "WEBP")


@given(
    form=st.sampled_from(FORMS),
    orientation=st.integers(0, 9),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    seed=st.integers(0, 2**32),
    suffix=st.sampled_from([".jpg", ".PNG", ".tif"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_picture_is_read_as_it_is_to_be_seen(
    tmp_path_factory: pytest.TempPathFactory,
    form: tuple[str, str],
    orientation: int,
    size: tuple[int, int],
    seed: int,
    suffix: str,
) -> None:
    mode, file_format = form
    image, seen = drawn(np.random.default_rng(seed), mode, size)
    options: dict[str, object] = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    if file_format in TURNED and orientation:
        options["exif"] = exif(orientation)
        seen = UPRIGHT.get(orientation, UPRIGHT[1])(seen)  # 9 is no orientation
    if "transparency" in image.info:
        options["transparency"] = image.info["transparency"]
    path = tmp_path_factory.mktemp("picture") / f"x{suffix}"  # the name does not say what it is
    image.save(path, format=file_format, **options)
    with quiet_pillow():
        found = np.asarray(read_image(path)).astype(float)
    assert found.shape == seen.shape
    assert np.abs(found - seen).max() <= 1  # rounding of the blending


@given(cut=st.floats(0, 1), form=st.sampled_from(FORMS), flips=st.lists(st.integers(0, 2**16)))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_picture_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory,
    cut: float,
    form: tuple[str, str],
    flips: list[int],
) -> None:
    image, _ = drawn(np.random.default_rng(0), form[0], (9, 7))
    held = io.BytesIO()
    image.save(held, format=form[1])
    content = bytearray(held.getvalue()[: round(cut * len(held.getvalue()))])
    for flip in flips[: len(content)]:
        content[flip % len(content)] ^= 1 + flip % 255
    path = tmp_path_factory.mktemp("damaged") / "x.png"
    path.write_bytes(content)
    try:
        with quiet_pillow():
            found = read_image(path)
    except UNREADABLE as cause:
        reason = explain(cause)
        assert reason
        assert "\n" not in reason
    else:
        assert found.mode == "RGB"


def jpeg(image: Image.Image, **options: object) -> bytes:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=95, subsampling=0, **options)
    return held.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_photograph_is_turned_upright(mode: str, orientation: int, tmp_path: Path) -> None:
    colour = np.zeros((16, 32, 3), np.uint8)
    colour[:8, :16], colour[8:, 16:] = (250, 20, 20), (20, 20, 250)
    image = Image.fromarray(colour).convert(mode)
    path = tmp_path / "x.jpeg"
    path.write_bytes(jpeg(image, exif=exif(orientation)))
    expected = UPRIGHT[orientation](np.asarray(image.convert("RGB")).astype(float))
    found = np.asarray(read_image(path)).astype(float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 12


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(file_format: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (12, 8), colour) for colour in ("red", "blue", "white")]
    path = tmp_path / "x"
    options = {"lossless": True} if file_format == "WEBP" else {}
    frames[0].save(path, file_format, save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == 3
    assert np.asarray(read_image(path)).tolist() == np.asarray(frames[0]).tolist()


def png(depth: int, colour: int, rows: list[bytes], size: tuple[int, int], trns: bytes) -> bytes:
    """A PNG file by hand: the forms that Pillow reads but does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [
        chunk(b"IHDR", head),
        chunk(b"tRNS", trns),
        chunk(b"IDAT", pixels),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_transparent_grey_is_found_at_every_depth(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for depth, level, rows, expected in (
        (2, 1, [bytes([0b00_01_10_11])], [0, 255, 170, 255]),
        (4, 5, [bytes([0x05, 0xAF])], [0, 255, 170, 255]),
        (8, 9, [bytes([0, 9, 170, 255])], [0, 255, 170, 255]),
        (16, 0x0901, [struct.pack(">4H", 0, 0x0901, 0x0902, 65535)], [0, 255, 9, 255]),
    ):
        path.write_bytes(png(depth, 0, rows, (4, 1), struct.pack(">H", level)))
        assert np.asarray(read_image(path))[0, :, 0].tolist() == expected


def test_a_transparent_colour_is_white(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(8, 2, [bytes([1, 2, 3, 4, 5, 6])], (2, 1), struct.pack(">3H", 1, 2, 3)))
    assert np.asarray(read_image(path))[0].tolist() == [[255, 255, 255], [4, 5, 6]]
    deep = struct.pack(">6H", *range(0x100, 0x700, 0x100))
    path.write_bytes(png(16, 2, [deep], (2, 1), struct.pack(">3H", 0x100, 0x200, 0x300)))
    with pytest.raises(ValueError, match="transparent colour of 16 bits"):
        read_image(path)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((8, 8), np.nan, np.float32), "floating-point pixels have no agreed range"),
        (np.full((8, 8), 70_000, np.int32), "32-bit pixels have no agreed range"),
        (np.full((8, 8), 200, np.int32), "32-bit pixels have no agreed range"),
    ],
)
def test_pixels_without_an_agreed_range_are_refused(
    pixels: np.ndarray, reason: str, tmp_path: Path
) -> None:
    Image.fromarray(pixels).save(tmp_path / "x.tiff")
    with pytest.raises(ValueError, match=reason):
        read_image(tmp_path / "x.tiff")


def test_a_damaged_file_says_nothing_by_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    held = io.BytesIO()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    for options in ({"compression": "tiff_lzw"}, {"compression": "jpeg"}, {}):
        held.seek(0)
        image.save(held, "TIFF", **options)
        for place in range(8, 400, 7):
            content = bytearray(held.getvalue())
            content[place] ^= 0x55
            (tmp_path / "x.tif").write_bytes(content[: -place * 3])
            try:
                with quiet_pillow():
                    read_image(tmp_path / "x.tif")
            except UNREADABLE:
                continue
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@given(
    forms=st.lists(st.sampled_from(FORMS), min_size=4, max_size=4),
    orientations=st.lists(st.integers(1, 8), min_size=4, max_size=4),
    size=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    broken=st.sets(st.integers(0, 2)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_holds_the_pictures_or_they_are_named(
    tmp_path_factory: pytest.TempPathFactory,
    forms: list[tuple[str, str]],
    orientations: list[int],
    size: tuple[int, int],
    broken: set[int],
    seed: int,
) -> None:
    root, draw = tmp_path_factory.mktemp("set"), np.random.default_rng(seed)
    expected = []
    for number, ((mode, file_format), turn) in enumerate(zip(forms, orientations, strict=True)):
        image, seen = drawn(draw, mode, size)
        options: dict[str, object] = {"lossless": True, "exact": True}
        options = options if file_format == "WEBP" else {}
        if "transparency" in image.info:
            options["transparency"] = image.info["transparency"]
        if file_format in TURNED:
            options["exif"], seen = exif(turn), UPRIGHT[turn](seen)
        for part in ("train", "val"):
            path = root / part / "ab"[number // 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, format=file_format, **options)
        if number in broken:
            path.write_bytes(path.read_bytes()[:20])
        else:
            expected.append(prepared(np.round(seen).astype(np.uint8)))
    data = load_data(DataConfig(name="folder", root=str(root), resolution=16, holdout=0.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ((images, _),) = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
    assert {Path(str(item.message).split()[1]).stem for item in caught} == set(map(str, broken))
    found = images.numpy().transpose(0, 2, 3, 1) * IMAGENET_STD + IMAGENET_MEAN
    assert np.abs(255 * found - np.stack(expected)).max() <= 3  # blending, then scaling


def prepared(seen: np.ndarray) -> np.ndarray:
    """The central 16 pixels after the shorter side became 18, as docs/exporting.md says."""
    image = Image.fromarray(seen)
    width, height = (18 * side // min(image.size) for side in image.size)
    left, top = round((width - 16) / 2), round((height - 16) / 2)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image.crop((left, top, left + 16, top + 16))).astype(float)
