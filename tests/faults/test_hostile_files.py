"""Files made to do harm: nothing in them is executed, nothing is written where they point."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from payloads import TRACE, fires, payloads, write_space_and_table
from PIL import Image

from proxyless_hw.data import files as data_files
from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import DataError, ExportError, ProxylessHwError, SearchError, TableError
from proxyless_hw.export.metadata import TFLITE_ENTRY, add_as_archive, read_metadata
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.published import load_published_weights
from proxyless_hw.runs.run_network import load_derived_network
from proxyless_hw.search.config import SearchConfig, read_config
from proxyless_hw.search.other_targets import open_search
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.state import read_checkpoint
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.tensor_files import load_tensors
from proxyless_hw.tables.importers import import_file
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.train import config as train_config
from proxyless_hw.train.load import load
from proxyless_hw.train.run_folder import TrainFolder
from proxyless_hw.train.state import CHECKPOINT

WAYS = ("os.system", "open", "eval", "exec", "path")


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """The file a payload would leave. No test may end with it there."""
    path = tmp_path / TRACE
    yield path
    assert not path.exists(), "a payload was executed"


def test_the_payloads_are_live(trace: Path) -> None:
    assert fires(trace)


def archived(payload: object) -> bytes:
    """As torch writes it today."""
    buffer = io.BytesIO()
    torch.save({"schema": "proxyless-hw-search/1", "state_dict": {"w": payload}}, buffer)
    return buffer.getvalue()


def legacy(payload: object) -> bytes:
    """As torch wrote it before 1.6."""
    buffer = io.BytesIO()
    torch.save({"state_dict": payload}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def tarred(payload: object) -> bytes:
    """As torch wrote it before 0.4: a tar of pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(payload)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FORMS: dict[str, Callable[[object], bytes]] = {
    "archive": archived,
    "legacy": legacy,
    "tar": tarred,
    "bare pickle": pickle.dumps,
}


def readers(folder: Path) -> list[Callable[[Path], Any]]:
    """Everything that opens a checkpoint. Those that take a run folder find its files by name."""
    _, table = write_space_and_table(folder)
    assert table.is_file()
    arch = load_architecture("proxyless-mobile")
    arch.save(folder / "architecture.json")

    def as_part(name: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def run(path: Path) -> Any:
            part = folder / name
            part.write_bytes(path.read_bytes())
            try:
                return read(folder)
            finally:
                part.unlink()

        return run

    return [
        lambda path: load_tensors(path, SearchError, "checkpoint"),
        read_checkpoint,
        CHECKPOINT.read,
        lambda path: load_published_weights(arch, path),
        as_part("checkpoint.pt", open_search),
        as_part("best.pt", load),
        as_part("network.pt", load),
        as_part("network.pt", load_derived_network),
    ]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
def test_a_pickle_in_a_checkpoint_is_never_executed(
    way: str, form: str, tmp_path: Path, trace: Path
) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(FORMS[form](payloads(trace)[way]))
    for read in readers(tmp_path):
        with pytest.raises(ProxylessHwError, match=r"can be loaded safely"):
            read(path)
        assert not trace.exists()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("way", WAYS)
def test_a_pickle_in_a_cifar_folder_is_never_executed(
    name: str, way: str, tmp_path: Path, trace: Path
) -> None:
    content = pickle.dumps(payloads(trace)[way])
    inner = "cifar-10-batches-py" if name == "cifar10" else "cifar-100-python"
    (tmp_path / inner).mkdir()
    python = ["data_batch_1", "test_batch", "batches.meta", "train", "test", "meta"]
    for part in python:
        (tmp_path / inner / part).write_bytes(content)
    with pytest.raises(DataError, match="pickles are never read"):
        load_data(DataConfig(name=name, root=str(tmp_path)))
    # Nor under the names of the binary version.
    binary = [f"data_batch_{number}.bin" for number in range(1, 6)]
    for part in [*binary, "test_batch.bin", "train.bin", "test.bin", "fine_label_names.txt"]:
        (tmp_path / part).write_bytes(content)
    with pytest.raises(DataError, match="must hold records"):
        load_data(DataConfig(name=name, root=str(tmp_path)))


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {}']",
        "!!python/object/apply:builtins.open ['{}', w]",
        "!!python/object/new:subprocess.Popen [[touch, '{}']]",
        "!!python/name:os.system",
        "!!python/module:this",
        "!unknown x",
        "!!map {{a: 1}}",
    ],
)
def test_a_yaml_tag_is_never_followed(tag: str, tmp_path: Path, trace: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text("table: " + tag.format(trace) + "\n", encoding="utf-8")
    for read in (SearchSpace.load, import_file, read_config, train_config.read_config):
        with pytest.raises(ProxylessHwError, match=r"hostile\.yaml is not valid YAML at line 1"):
            read(path)


def test_an_image_that_is_postscript_is_not_handed_to_ghostscript(
    tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import EpsImagePlugin

    from proxyless_hw.data.folder import read_image

    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "gs").write_text(f"#!/bin/sh\ntouch '{trace}'\n", encoding="utf-8")
    (commands / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # what Pillow found in other tests
    picture = tmp_path / "picture.jpg"
    Image.new("RGB", (8, 8)).save(picture, format="EPS")
    with Image.open(picture) as opened, pytest.raises(OSError):  # noqa: PT011
        opened.load()  # this is what Pillow does when it is left to choose
    assert trace.exists()
    trace.unlink()
    with pytest.raises(OSError, match="cannot identify image"):
        read_image(picture)


def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(io.BytesIO(archived(torch.zeros(4)))) as old:
        kept = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name, content in kept.items():
            zeros = bytes(200 * 2**20) if name.endswith("data/0") else content
            bomb.writestr(name, zeros)
    assert path.stat().st_size < 2**20
    with pytest.raises(SearchError, match="would unpack to 2097"):
        load_tensors(path, SearchError, "checkpoint")


def test_gzipped_data_that_unpacks_without_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "_MAX_FILE", 2**20)
    header = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 28, 28)
    for part in ("train", "t10k"):
        path = tmp_path / f"{part}-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(header + bytes(8 * 2**20)))
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        load_data(DataConfig(name="mnist", root=str(tmp_path)))


def model_with(entries: dict[str, bytes], path: Path) -> Path:
    """A TFLite file, as far as its mark goes, with an archive at its end."""
    with path.open("wb") as stream:
        stream.write(b"\x00\x00\x00\x00TFL3" + bytes(100))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_a_models_archive_is_read_in_memory_and_writes_nowhere(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    good = add_as_archive(b"\x00\x00\x00\x00TFL3", {"output": {"labels": None}, "schema": "x"})
    assert TFLITE_ENTRY.encode() in good
    hostile = dict.fromkeys((f"../{TRACE}", str(tmp_path / TRACE), "a/../../b"), b"x")
    model = model_with({**hostile, TFLITE_ENTRY: b"{}"}, inside / "m.tflite")
    with pytest.raises(ExportError, match="must have the schema"):
        read_metadata(model)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inside", "m.tflite"]


def test_a_models_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    model = model_with({TFLITE_ENTRY: b" " * (64 * 2**20)}, tmp_path / "m.tflite")
    assert model.stat().st_size < 2**18
    with pytest.raises(ExportError, match="larger than 16 MiB"):
        read_metadata(model)


@pytest.mark.parametrize(("flag", "method"), [(0x1, 8), (0, 99), (0, 8)])
def test_a_models_archive_that_is_encrypted_or_damaged_is_refused(
    flag: int, method: int, tmp_path: Path
) -> None:
    model = model_with({TFLITE_ENTRY: b"{" + bytes(range(200)) + b"}"}, tmp_path / "m.tflite")
    content = bytearray(model.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(mark) + place
        content[at : at + 4] = struct.pack("<HH", flag, method)
    if (flag, method) == (0, 8):
        start = content.index(TFLITE_ENTRY.encode()) + len(TFLITE_ENTRY)
        content[start : start + 20] = b"\xff" * 20
    model.write_bytes(content)
    with pytest.raises(ExportError, match=r"the metadata of .*m\.tflite is damaged"):
        read_metadata(model)


def test_an_output_that_is_a_link_is_replaced_and_what_it_names_is_left(tmp_path: Path) -> None:
    _, table = write_space_and_table(tmp_path)
    outside, link = tmp_path / "outside.csv", tmp_path / "link.csv"
    outside.write_text("precious", encoding="utf-8")
    link.symlink_to(outside)
    LatencyTable.load(table).save(link)
    assert outside.read_text(encoding="utf-8") == "precious"
    assert not link.is_symlink()
    assert LatencyTable.load(link).entries == LatencyTable.load(table).entries


@pytest.mark.parametrize("kind", [SearchFolder, TrainFolder])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_folder_whose_metrics_are_a_link_writes_nowhere_else(
    kind: type[SearchFolder] | type[TrainFolder], there: bool, tmp_path: Path
) -> None:
    outside, run = tmp_path / "outside", tmp_path / "run"
    run.mkdir()
    if there:
        outside.write_text("precious", encoding="utf-8")
    (run / "metrics.jsonl").symlink_to(outside)
    with pytest.raises(ProxylessHwError, match=r"cannot write .*metrics\.jsonl"):
        kind(run).append_metrics({"epoch": 1})
    assert outside.exists() == there
    assert not there or outside.read_text(encoding="utf-8") == "precious"


def test_a_lock_or_journal_that_is_a_link_is_refused(tmp_path: Path) -> None:
    from proxyless_hw.profilers.protocol.journal import Journal
    from proxyless_hw.storage.locks import exclusive_lock

    outside = tmp_path / "outside"
    for name in (".lock", "t.journal.jsonl"):
        (tmp_path / name).symlink_to(outside)
    with (
        pytest.raises(SearchError, match="cannot write beside"),
        exclusive_lock(tmp_path / ".lock", SearchError, "run folder"),
    ):
        pass
    with pytest.raises(ProxylessHwError, match="cannot write"):
        Journal(tmp_path / "t.journal.jsonl", {}, resume=False)
    assert not outside.exists()


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(TableError, match="no table"):
        LatencyTable.load("pixel1\0.csv")
    with pytest.raises(ProxylessHwError, match="cannot read space file"):
        SearchSpace.load("imagenet\0.yaml")
    for name in ("output", "table", "data_root"):
        with pytest.raises(SearchError, match=f"{name} must be text without null characters"):
            SearchConfig(**{name: "runs/\0x"})
