"""Data sets: splits, batches that repeat exactly, and hostile files."""

from __future__ import annotations

import gzip
import pickle
import struct
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.broken import BrokenImageWarning, broken_limit
from proxyless_hw.data.load import load_data
from proxyless_hw.data.memory import augmented
from proxyless_hw.errors import DataError


def batches(split, epoch=0, **options):
    settings = {"shuffle": True, "augment": True, "drop_last": False, **options}
    return list(split.batches(epoch, **settings))


def same(left, right):
    return len(left) == len(right) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(left, right, strict=True)
    )


@pytest.fixture(scope="module")
def digits():
    return load_data(DataConfig(name="digits", resolution=16, limit=200, batch_size=32))


def test_digits_give_normalised_channels_last_batches(digits):
    images, labels = batches(digits.train)[0]
    assert images.shape == (32, 3, 16, 16)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert images.is_contiguous(memory_format=torch.channels_last)
    plain = torch.cat([x for x, _ in batches(digits.test, augment=False)])
    assert abs(plain.mean()) < 0.1
    assert abs(plain.std() - 1) < 0.2
    assert digits.num_classes == 10


def test_the_splits_hold_what_was_asked_for(digits):
    assert len(digits.train) == 140
    assert len(digits.holdout) == 60
    assert len(digits.test) == 1797 // 5


def test_training_and_held_out_images_and_test_images_are_disjoint():
    whole = load_data(DataConfig(name="digits", resolution=8, holdout=0.5))
    sets = [
        {image.numpy().tobytes() for image in split.images}
        for split in (whole.train, whole.holdout, whole.test)
    ]
    total = sum(len(split) for split in (whole.train, whole.holdout, whole.test))
    assert total == 1797
    # No two of the 1,797 digits are the same picture, so equal bytes mean the same image.
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]


def test_an_epoch_repeats_exactly_and_epochs_differ(digits):
    assert same(batches(digits.train, 3), batches(digits.train, 3))
    assert not same(batches(digits.train, 3), batches(digits.train, 4))


def test_a_later_batch_needs_none_of_the_earlier_ones(digits):
    whole = batches(digits.train, 2)
    assert same(whole[3:], batches(digits.train, 2, first=3))
    assert same(whole[1::2], batches(digits.train, 2, first=1, every=2))


def test_another_seed_gives_another_split():
    one = load_data(DataConfig(name="digits", limit=100, seed=1))
    two = load_data(DataConfig(name="digits", limit=100, seed=2))
    assert not torch.equal(one.train.images, two.train.images)
    assert torch.equal(one.test.images, two.test.images)


def test_drop_last_leaves_out_only_the_short_batch(digits):
    assert [len(y) for _, y in batches(digits.train)] == [32, 32, 32, 32, 12]
    assert [len(y) for _, y in batches(digits.train, drop_last=True)] == [32] * 4


def test_no_holdout_gives_an_empty_split():
    data = load_data(DataConfig(name="digits", holdout=0.0, limit=50))
    assert len(data.train) == 50
    assert batches(data.holdout) == []


def test_a_crop_is_a_window_of_the_padded_image():
    image = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    windows = {
        padded[0, 0, r : r + 8, c : c + 8].numpy().tobytes() for r in range(3) for c in range(3)
    }
    seen = set()
    for seed in range(60):
        crop = augmented(image, False, torch.Generator().manual_seed(seed))
        seen.add(crop[0, 0].numpy().tobytes())
    assert seen == windows


def test_mirroring_happens_to_about_half_the_images():
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(400, 1, 1, 1)
    out = augmented(image, True, torch.Generator().manual_seed(0))
    falling = (out[:, 0, 4, 2] > out[:, 0, 4, 3]).float().mean()
    assert 0.4 < falling < 0.6


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"name": "cifar"}, "Did you mean 'cifar10'"),
        ({"limit": 0}, "limit"),
        ({"holdout": 1.0}, "holdout"),
        ({"resolution": 4}, "between 8 and"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(DataError, match=text):
        DataConfig(**settings)


def write_idx(path, array, zipped=True):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28)))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.arange(count) % 10, zipped=False)
    return tmp_path


def test_idx_files_are_read_zipped_or_not(idx_folder):
    data = load_data(DataConfig(name="mnist", root=str(idx_folder), holdout=0.25))
    assert (len(data.train), len(data.holdout), len(data.test)) == (30, 10, 20)
    assert batches(data.test, shuffle=False, augment=False)[0][1].tolist() == list(range(10)) * 2


def test_a_label_out_of_range_is_named(idx_folder):
    write_idx(idx_folder / "t10k-labels-idx1-ubyte", np.full(20, 11), zipped=False)
    with pytest.raises(DataError, match="image 0 has 11"):
        load_data(DataConfig(name="fashion-mnist", root=str(idx_folder)))


def test_a_cut_idx_file_is_refused(idx_folder):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    with pytest.raises(DataError, match="cut short"):
        load_data(DataConfig(name="mnist", root=str(idx_folder)))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match="cannot read"):
        load_data(DataConfig(name="mnist", root=str(idx_folder)))


def test_kaggles_names_of_the_idx_files_are_known(idx_folder):
    for path in list(idx_folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    for path in idx_folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(load_data(DataConfig(name="mnist", root=str(idx_folder))).test) == 20


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((20, 14, 14), "28 x 28 and 14 x 14"),
        ((20, 0, 28), "must have pixels"),
        ((19, 28, 28), "19 im"),
    ],
)
def test_idx_files_that_contradict_each_other_are_refused(idx_folder, shape, text):
    write_idx(idx_folder / "t10k-images-idx3-ubyte.gz", np.zeros(shape))
    with pytest.raises(DataError, match=text):
        load_data(DataConfig(name="mnist", root=str(idx_folder)))


@pytest.mark.parametrize(
    "announced", [(21, 28, 28), (20, 28, 27), (2**32 - 1, 2**32 - 1, 2**32 - 1)]
)
def test_an_idx_header_that_announces_another_size_is_refused(idx_folder, announced):
    head = struct.pack(">BBBB3I", 0, 0, 8, 3, *announced)
    (idx_folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + bytes(20 * 784)))
    with pytest.raises(DataError, match="announces"):
        load_data(DataConfig(name="mnist", root=str(idx_folder)))


def test_absent_files_say_how_to_get_them(tmp_path):
    with pytest.raises(DataError, match=r"dataset-fashion-mnist.*nothing is downloaded"):
        load_data(DataConfig(name="fashion-mnist", root=str(tmp_path)))


def write_cifar(path, labels, label_bytes=1, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    names = np.zeros((len(labels), label_bytes), np.uint8)
    names[:, -1] = labels
    path.write_bytes(np.concatenate([names, pixels], 1).tobytes())
    return pixels


def test_cifar_binary_records_are_read(tmp_path):
    for number in range(1, 6):
        write_cifar(tmp_path / f"data_batch_{number}.bin", [number] * 4, seed=number)
    pixels = write_cifar(tmp_path / "test_batch.bin", [0, 9])
    data = load_data(DataConfig(name="cifar10", root=str(tmp_path)))
    assert len(data.train) + len(data.holdout) == 20
    images, labels = batches(data.test, shuffle=False, augment=False)[0]
    assert labels.tolist() == [0, 9]
    red = pixels[1, :1024].reshape(32, 32) / 255
    np.testing.assert_allclose(images[1, 0].numpy(), (red - 0.4914) / 0.2470, rtol=1e-4, atol=1e-5)


def test_cifar_100_takes_the_fine_label(tmp_path):
    write_cifar(tmp_path / "train.bin", list(range(100)), label_bytes=2)
    write_cifar(tmp_path / "test.bin", [99], label_bytes=2)
    data = load_data(DataConfig(name="cifar100", root=str(tmp_path)))
    assert batches(data.test)[0][1].tolist() == [99]
    assert data.num_classes == 100
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"n{n}" for n in range(100)) + "\n")
    assert load_data(DataConfig(name="cifar100", root=str(tmp_path))).class_names[3] == "n3"
    (tmp_path / "fine_label_names.txt").write_text("apple\nbear\n")
    with pytest.raises(DataError, match="must hold 100 names: it has 2"):
        load_data(DataConfig(name="cifar100", root=str(tmp_path)))


@pytest.mark.parametrize("change", [-1, 1, -3073 * 4, 3073 // 2])
def test_cifar_files_of_another_size_are_refused(tmp_path, change):
    for number in range(1, 6):
        write_cifar(tmp_path / f"data_batch_{number}.bin", [number] * 4, seed=number)
    write_cifar(tmp_path / "test_batch.bin", [0, 9])
    path = tmp_path / "data_batch_3.bin"
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))
    with pytest.raises(DataError, match=r"data_batch_3\.bin must hold records of 3073 bytes"):
        load_data(DataConfig(name="cifar10", root=str(tmp_path)))


def test_pickled_cifar_is_never_opened(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(DataError, match="pickles are never read"):
        load_data(DataConfig(name="cifar10", root=str(tmp_path)))
    assert not (tmp_path / "executed").exists()


def picture(path, seed=0):
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def picture_folder(tmp_path):
    for name in ("ant", "bee"):
        for number in range(10):
            picture(tmp_path / name / f"{number}.png", seed=number)
    return tmp_path


def folder_config(root, **settings):
    return DataConfig(
        name="folder", root=str(root), resolution=16, batch_size=4, holdout=0.25, **settings
    )


# The TFLite converter, which other tests load, starts threads and warns of any fork.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
# torch advises against more workers than processors, of which there may be one here.
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_a_folder_is_split_and_repeats_exactly_with_workers(picture_folder):
    plain = load_data(folder_config(picture_folder))
    assert (len(plain.train), len(plain.holdout), len(plain.test)) == (12, 4, 4)
    with_workers = load_data(folder_config(picture_folder, workers=2))
    assert same(batches(plain.train, 1), batches(with_workers.train, 1))
    assert not same(batches(plain.train, 1), batches(plain.train, 2))


def test_a_broken_image_is_named_and_passed_over(picture_folder):
    path = picture_folder / "ant" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    data = load_data(folder_config(picture_folder))
    with pytest.warns(BrokenImageWarning, match="3.png"):
        count = sum(len(y) for s in (data.train, data.holdout, data.test) for _, y in batches(s))
    assert count == 19


def test_too_many_broken_images_end_the_run(picture_folder):
    for number in range(3):
        (picture_folder / "bee" / f"{number}.png").write_bytes(b"nothing like a picture")
    data = load_data(folder_config(picture_folder, max_broken=0))
    splits = (data.train, data.holdout, data.test)
    with pytest.raises(DataError, match=r"more than 0 of 20 images cannot be read(.|\n)*--max-bro"):
        list(chain.from_iterable(map(batches, splits)))


@pytest.mark.parametrize(
    ("given", "images", "limit"),
    [
        *((None, 20, 10), (None, 1_000, 10), (None, 5_000, 50), (None, 1_300_000, 13_000)),
        *((3, 5_000, 3), (0, 10**6, 0), (0.5, 30, 15), (0.29, 100, 29), (0.0, 100, 0)),
    ],
)
def test_how_many_may_be_broken_grows_with_the_set_or_is_given(given, images, limit):
    assert broken_limit(given, images) == limit


@pytest.mark.parametrize("value", [-1, 1.5, -0.1, float("nan"), "5", True])
def test_a_limit_that_is_neither_number_nor_share_is_refused(value):
    with pytest.raises(DataError, match="max_broken must be a whole number of images, or a share"):
        DataConfig(max_broken=value)


def test_the_limit_counts_the_images_of_all_splits(picture_folder):
    for number in range(3):
        (picture_folder / "bee" / f"{number}.png").write_bytes(b"nothing like a picture")
    data = load_data(folder_config(picture_folder, max_broken=0.15))
    with pytest.warns(BrokenImageWarning, match="at most 3"):
        count = sum(len(y) for s in (data.train, data.holdout, data.test) for _, y in batches(s))
    assert count == 17


def test_a_long_list_of_broken_images_is_cut(picture_folder):
    for path in picture_folder.rglob("*.png"):
        for number in range(5):
            path.with_name(f"{path.stem}-{number}.png").write_bytes(b"")
    data = load_data(folder_config(picture_folder, max_broken=40))
    with pytest.warns(BrokenImageWarning), pytest.raises(DataError) as failed:
        list(chain.from_iterable(map(batches, (data.train, data.holdout, data.test))))
    assert str(failed.value).count("the file is empty") == 20
    assert "21 named before, and" in str(failed.value)


def test_a_last_batch_that_cannot_be_read_is_left_out_of_an_evaluation(picture_folder):
    (picture_folder / "bee" / "9.png").write_bytes(b"")  # the fifth and last of the test images
    picture(picture_folder / "bee" / "91.png")
    data = load_data(folder_config(picture_folder))
    (picture_folder / "bee" / "91.png").write_bytes(b"")
    data.test.samples[-1][0].write_bytes(b"")
    with pytest.warns(BrokenImageWarning):
        found = batches(data.test, shuffle=False, augment=False)
    assert [len(labels) for _, labels in found] == [4]


def test_a_whole_batch_that_cannot_be_read_ends_a_training(picture_folder):
    data = load_data(folder_config(picture_folder, max_broken=1.0))
    for path, _ in data.train.samples:
        path.write_bytes(b"")
    with pytest.warns(BrokenImageWarning), pytest.raises(DataError, match="no image of a batch"):
        batches(data.train, drop_last=True)
    with pytest.warns(BrokenImageWarning), pytest.raises(DataError, match="no image of 12 can be"):
        batches(data.train, augment=False)


def test_a_strip_that_would_grow_without_end_is_broken(picture_folder):
    Image.new("RGB", (1, 60_000)).save(picture_folder / "ant" / "strip.png")
    config = DataConfig(name="folder", root=str(picture_folder), resolution=224, batch_size=4)
    data = load_data(config)
    with pytest.warns(BrokenImageWarning, match="1 x 60000 pixels are too narrow"):
        list(chain.from_iterable(map(batches, (data.train, data.holdout, data.test))))


def test_an_empty_class_is_an_error(picture_folder):
    (picture_folder / "cow").mkdir()
    with pytest.raises(DataError, match="class 'cow'"):
        load_data(folder_config(picture_folder))
