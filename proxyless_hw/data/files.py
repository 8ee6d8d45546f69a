"""Readers of the published file forms: digits, IDX (MNIST and its kin), CIFAR's binary form."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from proxyless_hw.data.random_streams import seeded
from proxyless_hw.errors import DataError

DEBIAN_FASHION_MNIST: Final = Path("/usr/share/datasets/fashion-mnist")
DIGITS_TEST_SHARE: Final = 5
_DIGITS_SPLIT = 20  # the digits come without a test set; this seed fixes ours for good
_MAX_FILE = 512 * 2**20
_FASHION_CLASSES: Final = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_DIGIT_CLASSES: Final = tuple(str(digit) for digit in range(10))
_CIFAR10_CLASSES: Final = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


@dataclass(frozen=True)
class RawData:
    """A data set as read: images (N, C, H, W) uint8, labels (N,) int64."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]


def read_digits() -> RawData:
    """The 1,797 handwritten digits that come with scikit-learn; a fifth of them is the test set."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(pixels)[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    order = torch.randperm(len(labels), generator=seeded(_DIGITS_SPLIT))
    held = len(labels) // DIGITS_TEST_SHARE
    test, train = order[:held].sort().values, order[held:].sort().values
    return RawData(images[train], labels[train], images[test], labels[test], _DIGIT_CLASSES)


def read_idx(name: str, root: str | None) -> RawData:
    """MNIST or Fashion-MNIST from its four IDX files, gzipped or not.

    Raises:
        DataError: a file is absent or malformed; the message says where to get the data.
    """
    folder = _idx_folder(name, root)
    train_images, train_labels = _idx_pair(folder, "train")
    test_images, test_labels = _idx_pair(folder, "t10k")
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = " and ".join(
            " x ".join(map(str, images.shape[2:])) for images in (train_images, test_images)
        )
        raise DataError(
            f"{folder}: training and test images must be of one size: received {sizes} pixels. "
            "Are they files of two sets?"
        )
    classes = _FASHION_CLASSES if name == "fashion-mnist" else _DIGIT_CLASSES
    return RawData(train_images, train_labels, test_images, test_labels, classes)


def _idx_folder(name: str, root: str | None) -> Path:
    places = [DEBIAN_FASHION_MNIST] if name == "fashion-mnist" and root is None else []
    if root is not None:
        under = Path(root)
        own = "FashionMNIST" if name == "fashion-mnist" else "MNIST"
        places = [under, under / "raw", under / own / "raw", under / name]
    for place in places:
        if any(place.glob("train-images?idx3-ubyte*")):
            return place
    looked = f" Looked in {', '.join(map(str, places))}." if places else ""
    debian = ""
    if name == "fashion-mnist":
        debian = " or install Debian's package: apt-get install dataset-fashion-mnist;"
    raise DataError(
        f"{name} is not here.{looked} Give the folder with train-images-idx3-ubyte(.gz) and its "
        f"three companions: --data-root FOLDER;{debian} nothing is downloaded by itself."
    )


def _idx_pair(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    images = _idx_array(_idx_path(folder, f"{part}-images-idx3-ubyte"), dimensions=3)
    labels = _idx_array(_idx_path(folder, f"{part}-labels-idx1-ubyte"), dimensions=1)
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{folder}: the '{part}' files must hold as many images as labels, and at least one: "
            f"received {len(images)} images and {len(labels)} labels."
        )
    if not images.numel():
        raise DataError(
            f"{folder}: the '{part}' images must have pixels: received "
            f"{' x '.join(map(str, images.shape[1:]))}. Fetch the file again."
        )
    return images[:, None], labels.to(torch.int64)


def _idx_path(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz", folder / name.replace("-idx", ".idx", 1)):
        if path.is_file():
            return path
    raise DataError(f"{folder} lacks {name} (or {name}.gz).")


def _idx_array(path: Path, dimensions: int) -> Tensor:
    """An IDX file of unsigned bytes: magic 0 0 8 D, D big-endian sizes, the elements."""
    content = _content(path)
    header = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < header:
        raise DataError(
            f"{path} must be an IDX file of bytes in {dimensions} dimensions: it begins with "
            f"{content[:4].hex(' ') or 'nothing'}."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    wanted = int(np.prod(shape, dtype=object))
    if wanted != len(content) - header:
        raise DataError(
            f"{path} announces {' x '.join(map(str, shape))} = {wanted} bytes and holds "
            f"{len(content) - header}. It is cut short or damaged; fetch it again."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())


def _content(path: Path) -> bytes:
    """Reads all bytes of a file, at most 512 MiB, and unpacks a gzipped one."""
    try:
        if path.suffix != ".gz":
            if path.stat().st_size > _MAX_FILE:
                raise DataError(f"{path} is larger than {_MAX_FILE >> 20} MiB.")
            return path.read_bytes()
        with gzip.open(path) as stream:
            content = stream.read(_MAX_FILE + 1)
    except (OSError, EOFError, zlib.error) as cause:
        raise DataError(f"cannot read {path}: {cause}.") from cause
    if len(content) > _MAX_FILE:
        raise DataError(f"{path} unpacks to more than {_MAX_FILE >> 20} MiB.")
    return content


def read_cifar(name: str, root: str | None) -> RawData:
    """CIFAR-10 or CIFAR-100 from the published binary archive.

    The Python archive is refused: it is pickled, and unpickling runs what a file tells it to.

    Raises:
        DataError: a file is absent or malformed.
    """
    archive = "cifar-10-binary.tar.gz" if name == "cifar10" else "cifar-100-binary.tar.gz"
    inner = "cifar-10-batches-bin" if name == "cifar10" else "cifar-100-binary"
    hint = f"Unpack {archive} (the binary version) and give its folder: --data-root FOLDER."
    if root is None:
        raise DataError(f"{name} needs its files, and nothing is downloaded by itself. {hint}")
    first = "data_batch_1.bin" if name == "cifar10" else "train.bin"
    folder = next((p for p in (Path(root), Path(root) / inner) if (p / first).is_file()), None)
    if folder is None:
        pickled = any(
            (Path(root) / part / file).is_file()
            for part in (".", "cifar-10-batches-py", "cifar-100-python")
            for file in ("data_batch_1", "train")
        )
        reason = "holds the Python version, whose pickles are never read" if pickled else "lacks it"
        raise DataError(f"{name} is read from {first}: {root} {reason}. {hint}")
    label_bytes, classes = (1, 10) if name == "cifar10" else (2, 100)
    parts = [f"data_batch_{n}.bin" for n in range(1, 6)] if name == "cifar10" else ["train.bin"]
    test = "test_batch.bin" if name == "cifar10" else "test.bin"
    read = [_cifar_records(folder / part, label_bytes) for part in parts]
    test_images, test_labels = _cifar_records(folder / test, label_bytes)
    return RawData(
        torch.cat([images for images, _ in read]),
        torch.cat([labels for _, labels in read]),
        test_images,
        test_labels,
        _CIFAR10_CLASSES if name == "cifar10" else _fine_names(folder, classes),
    )


def _cifar_records(path: Path, label_bytes: int) -> tuple[Tensor, Tensor]:
    content = _content(path)
    record = label_bytes + 3 * 32 * 32
    if not content or len(content) % record:
        raise DataError(
            f"{path} must hold records of {record} bytes: it has {len(content)} bytes. "
            "It is cut short or damaged; fetch it again."
        )
    records = torch.from_numpy(np.frombuffer(content, np.uint8).reshape(-1, record).copy())
    # The last label byte is the fine class.
    labels = records[:, label_bytes - 1].to(torch.int64)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32).contiguous(), labels


def _fine_names(folder: Path, classes: int) -> tuple[str, ...]:
    """Names of the fine classes; their numbers where the file of names is not there.

    Raises:
        DataError: the file holds another number of names.
    """
    path = folder / "fine_label_names.txt"
    if not path.is_file():
        return tuple(str(number) for number in range(classes))
    names = _content(path).decode("utf-8", errors="replace").split()
    if len(names) != classes:
        raise DataError(
            f"{path} must hold {classes} names: it has {len(names)}. Fetch it again, or remove it: "
            "the classes are then numbered."
        )
    return tuple(names)
