"""Finds the classes and the test part of a folder of images, however it is laid out.

Every folder is listed once, into a tree of `Branch`; the tree then decides what it means. What is
not used is named in `Layout.notes`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.data.images import IMAGE_SUFFIXES
from proxyless_hw.errors import DataError

TEST_SHARE: Final = 5  # without a test folder, every fifth image is the test set
PART_NAMES: Final = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""Names of the parts of a data set, in any case."""
# What archives and file managers leave behind, beside everything that begins with a dot.
_LITTER: Final = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found")
)
_NO_TEXT: Final = ("Cc", "Cs", "Zl", "Zp")  # a label is one line of UTF-8
_MAX_DEPTH: Final = 32
_LISTED: Final = 5
Sample = tuple[Path, int]


@dataclass(frozen=True)
class Branch:
    """One folder.

    Attributes:
        path: where it is.
        images: files whose name ends as a picture's does, sorted.
        folders: its folders, sorted by name.
        left_out: hidden and system names.
        others: files that are no pictures by their name.
    """

    path: Path
    images: tuple[Path, ...]
    folders: tuple[Branch, ...]
    left_out: tuple[Path, ...]
    others: tuple[Path, ...]

    @property
    def part(self) -> str | None:
        """The part of a data set that the name stands for: train, val or test."""
        name = self.path.name.casefold()
        return next((part for part, names in PART_NAMES.items() if name in names), None)

    @property
    def holds_classes(self) -> bool:
        """Whether there are pictures in folders of it."""
        return any(any(folder.all_images()) for folder in self.folders)

    def everything(self) -> Iterator[Branch]:
        """This folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.everything()

    def all_images(self) -> Iterator[Path]:
        """Pictures in this folder and below."""
        return (path for branch in self.everything() for path in branch.images)


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        classes: names, sorted.
        train, test: path and class of every picture.
        notes: what the user should know about how the folder was read, one line each.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    notes: tuple[str, ...]


def read_layout(root: Path) -> Layout:
    """Finds classes and parts: ``train/CLASS/*`` with ``val`` or ``test`` beside, or ``CLASS/*``.

    Names in any case, and `PART_NAMES`' other words for them. A folder that holds one folder and
    nothing else stands for that one.

    Raises:
        DataError: no classes, an empty class, classes that differ between parts, or a folder that
            can be read in two ways.
    """
    way = _way_in(_listed(root, (), 0), stop_at_parts=True)
    place = way[-1]
    notes = [f"the images are taken from {place.path}."] if len(way) > 1 else []
    train = _part(place, "train")
    if train is None:
        _refuse_parts_without_classes(place)
        classes = _classes(place)
        samples = _samples(classes)
        kept = tuple(sample for index, sample in enumerate(samples) if index % TEST_SHARE)
        notes += _left_out(root, way, classes.values())
        return Layout(tuple(classes), kept, samples[::TEST_SHARE], tuple(notes))
    test = _test_part(place, train)
    ways = [_way_in(part, stop_at_parts=False) for part in (train, test)]
    classes, test_classes = (_classes(part[-1]) for part in ways)
    if list(classes) != list(test_classes):
        odd = sorted(set(classes) ^ set(test_classes))[:_LISTED]
        raise DataError(f"the classes of {train.path} and {test.path} differ: {', '.join(odd)}.")
    notes += _parts_taken(place, train, test)
    notes += _left_out(root, [*way, *ways[0], *ways[1]],
                       [*classes.values(), *test_classes.values()])  # fmt: skip
    return Layout(tuple(classes), _samples(classes), _samples(test_classes), tuple(notes))


def _listed(folder: Path, above: tuple[str, ...], depth: int) -> Branch:
    """The tree below a folder; links to folders are followed, but not round in a circle."""
    real = os.path.realpath(folder)
    if real in above or depth > _MAX_DEPTH:
        rule = "links back to a folder above it" if real in above else "is nested too deep"
        raise DataError(f"{folder} {rule}. Remove it.")
    images, folders, left_out, others = [], [], [], []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                path = folder / entry.name
                if entry.name.startswith(".") or entry.name.casefold() in _LITTER:
                    left_out.append(path)
                elif entry.is_dir():
                    folders.append(path)
                elif path.suffix.lower() in IMAGE_SUFFIXES and _may_be_read(entry):
                    images.append(path)
                else:
                    others.append(path)
    except OSError as cause:
        raise DataError(f"cannot list {folder}: {cause.strerror or cause}.") from cause
    return Branch(
        folder,
        tuple(images),
        tuple(_listed(path, (*above, real), depth + 1) for path in folders),
        tuple(left_out),
        tuple(others),
    )


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Excludes pipes and devices. A broken link counts as an image and is reported later."""
    return entry.is_file() or entry.is_symlink()


def _way_in(branch: Branch, *, stop_at_parts: bool) -> list[Branch]:
    """Follows folders that hold nothing but one folder, down to one that holds more."""
    way = [branch]
    while not branch.images and len(branch.folders) == 1:
        (branch,) = branch.folders
        covers_parts = branch.part is not None and stop_at_parts
        if branch.images or not branch.holds_classes or covers_parts:
            break
        way.append(branch)
    return way


def _part(place: Branch, part: str) -> Branch | None:
    """The folder of a part, where one holds classes.

    Raises:
        DataError: there are several.
    """
    found = [branch for branch in place.folders if branch.part == part and branch.holds_classes]
    if len(found) > 1:
        names = " and ".join(f"'{branch.path.name}'" for branch in found)
        raise DataError(f"{place.path} must hold one '{part}' folder: received {names}. Join them.")
    return found[0] if found else None


def _test_part(place: Branch, train: Branch) -> Branch:
    second = _part(place, "val") or _part(place, "test")
    if second is not None:
        return second
    flat = [branch.path.name for branch in place.folders if branch.part in ("val", "test")]
    found = f"'{flat[0]}' without class folders" if flat else "neither"
    raise DataError(
        f"beside {train.path} a folder 'val' or 'test' must hold the same class folders: received "
        f"{found}. Without one, give --data-root {train.path}: every fifth image is then the test "
        "set."
    )


def _refuse_parts_without_classes(place: Branch) -> None:
    """Refuses ``train/*.jpg`` beside ``test/*.jpg``, which are parts and not two classes."""
    parts = [branch for branch in place.folders if branch.part is not None]
    if parts and len(parts) == len(place.folders):
        names = ", ".join(f"'{branch.path.name}'" for branch in parts)
        raise DataError(
            f"{place.path} holds {names}, and no class folders in 'train'. Put the images of each "
            "class into a folder of its own: train/CLASS/*."
        )


def _classes(folder: Branch) -> dict[str, Branch]:
    """The class folders by name, sorted.

    Raises:
        DataError: there are no two class folders, or one is no class.
    """
    named: dict[str, Branch] = {}
    for branch in folder.folders:
        name = _class_name(branch)
        if name in named:
            raise DataError(f"{folder.path} holds two folders of the name '{name}'. Join them.")
        named[name] = branch
    if len(named) < 2:
        found = f"only '{next(iter(named))}'" if named else "no folder"
        raise DataError(
            f"{folder.path} holds {found}; each class is a folder of images, and there are two or "
            "more."
        )
    return dict(sorted(named.items()))


def _samples(classes: dict[str, Branch]) -> tuple[Sample, ...]:
    return tuple(
        (path, label)
        for label, branch in enumerate(classes.values())
        for path in sorted(branch.all_images())
    )


def _class_name(branch: Branch) -> str:
    """The name of a class folder, in the same form on every file system.

    Raises:
        DataError: it holds no picture, or pictures in folders only; or its name is no text.
    """
    name = unicodedata.normalize("NFC", branch.path.name)
    if any(unicodedata.category(character) in _NO_TEXT for character in name):
        raise DataError(
            f"a class name is one line of text: received {name!r} in {branch.path.parent}. "
            "Rename the folder."
        )
    if not any(branch.all_images()):
        raise DataError(
            f"class '{name}' in {branch.path.parent} holds no image (.jpg, .png, ...). "
            "Fill or remove its folder."
        )
    if not branch.images:
        inner = ", ".join(folder.path.name for folder in branch.folders[:_LISTED])
        raise DataError(
            f"class '{name}' in {branch.path.parent} holds folders only ({inner}). A class is a "
            "folder of images; parts of a data set are named train, val, test. Rename or move "
            "the folders, or give the folder that holds the classes: --data-root."
        )
    return name


def _parts_taken(place: Branch, train: Branch, test: Branch) -> list[str]:
    """Says which folders are the parts; returns no lines if they are named as documented."""
    unused = [branch.path.name for branch in place.folders if branch not in (train, test)]
    if not unused and train.path.name == "train" and test.path.name in ("val", "test"):
        return []
    rest = f"; not used: {_some(unused)}" if unused else ""
    return [
        f"of {place.path}, '{train.path.name}' is used for training and '{test.path.name}' for "
        f"testing{rest}."
    ]


def _left_out(root: Path, way: list[Branch], classes: Iterable[Branch]) -> list[str]:
    """Names what lies beside or in the class folders and is not used, in at most one line."""
    inside = [branch for folder in classes for branch in folder.everything()]
    found = {
        "hidden or system names": [path for each in (*way, *inside) for path in each.left_out],
        "files that are no images": [path for each in (*way, *inside) for path in each.others],
        "images outside class folders": [path for each in way for path in each.images],
    }
    parts = [
        f"{len(paths)} {what} ({_some([path.name for path in paths])})"
        for what, paths in found.items()
        if paths
    ]
    return [f"left out in {root}: {'; '.join(parts)}."] if parts else []


def _some(names: list[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if names[_LISTED:] else "")
