"""Folders of pictures as people have them: what is taken, what is left out, what is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.layout import TEST_SHARE, Layout, read_layout
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import DataError
from proxyless_hw.terminal.notices import Notice

LITTER = (
    *(".DS_Store", "._0.png", ".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/cat/._0.png"),
    *("Thumbs.db", "desktop.ini", "notes.txt", "@eaDir/0.png/THUMB.jpg", ".git/config"),
)
TRAIN = ("train", "Train", "TRAIN", "training", "Training")
SECOND = ("val", "Val", "valid", "validation", "Validation", "test", "Test", "testing", "Testing")


def put(root: Path, *names: str) -> Path:
    """Empty files: the layout is decided by names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def pairs(layout: Layout, root: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Relative path and class name of every training and of every test image."""
    train, test = (
        {(str(path.relative_to(root)), layout.classes[label]) for path, label in samples}
        for samples in (layout.train, layout.test)
    )
    return train, test


CLASS_NAMES = st.lists(
    st.sampled_from(["cat", "dog", "T-shirt front", "Schuhe_ö", "train wagon", "7", "日本"]),
    min_size=2,
    max_size=5,
    unique=True,
)


@given(
    classes=CLASS_NAMES,
    cover=st.lists(st.sampled_from(["dataset", "images", "archive"]), max_size=2),
    train=st.sampled_from(TRAIN),
    second=st.sampled_from(SECOND),
    inner=st.booleans(),
    parts=st.booleans(),
    suffix=st.sampled_from([".jpg", ".JPEG", ".Png", ".webp", ".gif", ".jfif", ".heic"]),
    litter=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(LITTER)), max_size=6),
    counts=st.lists(st.integers(1, 7), min_size=10, max_size=10),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_classes_and_parts_are_found_whatever_lies_around_them(
    tmp_path_factory: pytest.TempPathFactory,
    classes: list[str],
    cover: list[str],
    train: str,
    second: str,
    inner: bool,
    parts: bool,
    suffix: str,
    litter: list[tuple[int, str]],
    counts: list[int],
) -> None:
    root = tmp_path_factory.mktemp("set")
    place = "/".join([*cover, ""])
    holders = [f"{place}{part}/" for part in (train, second)] if parts else [place]
    if inner and parts:  # train/train/CLASS
        holders = [f"{holder}{train}/" for holder in holders]
    expected: list[list[tuple[str, str]]] = []
    for number, holder in enumerate(holders):
        expected.append(
            [
                (f"{holder}{name}/{index}{suffix}", name)
                for position, name in enumerate(sorted(classes))
                for index in range(counts[5 * number + position])
            ]
        )
    images = [path for each in expected for path, _ in each]
    put(root, *images)
    places = ["", place, *holders, *[str(Path(path).parent) + "/" for path in images]]
    for index, name in litter:
        put(root, f"{places[index % len(places)]}{name}")
    layout = read_layout(root)
    assert layout.classes == tuple(sorted(classes))
    if not parts:
        expected = [
            [pair for index, pair in enumerate(expected[0]) if bool(index % TEST_SHARE) is trained]
            for trained in (True, False)
        ]
    assert pairs(layout, root) == (set(expected[0]), set(expected[1]))
    said = "\n".join(layout.notes)
    assert all(Path(name).parts[0] in said or ", ..." in said for _, name in litter)
    if parts and (train, second) not in (("train", "val"), ("train", "test")):
        assert f"'{train}' is used for training and '{second}' for testing" in said


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a/1.jpg",), "holds only 'a'"),
        ((), "holds no folder"),
        (("a/1.jpg", "b/notes.txt"), "class 'b' in .* holds no image"),
        (("a/1.jpg", "b/.hidden.jpg"), "class 'b' in .* holds no image"),
        # Parts under names that nobody knows, and an augmented set: no classes of their own.
        (("fold1/a/1.jpg", "fold1/b/1.jpg", "fold2/a/1.jpg"), r"'fold1' .* holds folders only \(a"),
        (("seg_train/x/a/1.jpg", "seg_test/x/a/1.jpg"), "holds folders only"),
        (("a/images/1.jpg", "b/images/1.jpg"), r"holds folders only \(images\)"),
        (
            ("train/a/x/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/b/1.jpg"),
            "class 'a' in .*train",
        ),
        # Parts without classes.
        (("train/1.jpg", "test/1.jpg"), "no class folders in 'train'"),
        (("Train/1.jpg", "Validation/1.jpg", "test/2.jpg"), "no class folders in 'train'"),
        (("train/a/1.jpg", "train/b/1.jpg", "test/1.jpg"), "received 'test' without class folders"),
        (("train/a/1.jpg", "train/b/1.jpg"), "received neither.*every fifth image"),
        (("train/a/1.jpg", "Train/b/1.jpg", "val/a/1.jpg"), "received 'Train' and 'train'"),
        (("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "valid/b/1.jpg"), "'val' and 'valid'"),
        (("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/c/1.jpg"), "differ: b, c"),
        (("a/1.jpg", "b\nc/1.jpg"), "a class name is one line of text"),
        (("a/1.jpg", "b\udcff/1.jpg"), "a class name is one line of text"),
        (("é/1.jpg", "e\u0301/1.jpg"), "two folders of the name 'é'"),
        (("/".join("x" * 40) + "/1.jpg", "b/1.jpg"), "nested too deep"),
    ],
)
def test_what_cannot_be_two_or_more_classes_is_refused(
    files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    put(tmp_path, *files)
    with pytest.raises(DataError, match=message):
        read_layout(tmp_path)


def test_a_class_may_have_the_name_of_a_part(tmp_path: Path) -> None:
    put(tmp_path, "bus/1.jpg", "car/1.jpg", "train/1.jpg", "test/1.jpg")
    assert read_layout(tmp_path).classes == ("bus", "car", "test", "train")


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/more/2.jpg", "a/more/.x/3.jpg", "b/1.jpg")
    layout = read_layout(tmp_path)
    train, test = pairs(layout, tmp_path)
    assert train | test == {("a/1.jpg", "a"), ("a/more/2.jpg", "a"), ("b/1.jpg", "b")}


def test_a_set_with_three_parts_says_which_it_takes(tmp_path: Path) -> None:
    put(tmp_path, *(f"{part}/{name}/1.jpg" for part in ("train", "val", "test") for name in "ab"))
    layout = read_layout(tmp_path)
    assert {path.parent.parent.name for path, _ in layout.test} == {"val"}
    (note,) = layout.notes
    assert "'train' is used for training and 'val' for testing; not used: test." in note


def test_images_beside_the_class_folders_are_said_to_be_left_out(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "a/1.jpg", "b/1.jpg")
    assert read_layout(tmp_path).notes == (
        f"left out in {tmp_path}: 1 images outside class folders (1.jpg).",
    )


def test_names_that_look_alike_are_one_class_in_both_parts(tmp_path: Path) -> None:
    put(tmp_path, "train/Schuhe_ö/1.jpg", "train/b/1.jpg", "val/b/1.jpg")
    put(tmp_path, f"val/{unicodedata.normalize('NFD', 'Schuhe_ö')}/1.jpg")
    assert read_layout(tmp_path).classes == ("Schuhe_ö", "b")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.jpg", "set/b/1.jpg")
    (tmp_path / "set" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    train, test = pairs(read_layout(tmp_path / "set"), tmp_path / "set")
    assert train | test == {("a/1.jpg", "a"), ("b/1.jpg", "b"), ("b/gone.jpg", "b")}
    (tmp_path / "set" / "b" / "again").symlink_to(tmp_path / "set")
    with pytest.raises(DataError, match="links back to a folder above it"):
        read_layout(tmp_path / "set")


def test_loading_says_what_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/{index}.png" for name in "ab" for index in range(9)))
    put(tmp_path, ".ipynb_checkpoints/0.png", "a/Thumbs.db")
    with pytest.warns(Notice, match=r"1 hidden .* \(\.ipynb_ch.*; 1 files that .* \(Thumbs\.db\)"):
        data = load_data(DataConfig(name="folder", root=str(tmp_path)))
    assert data.class_names == ("a", "b")
