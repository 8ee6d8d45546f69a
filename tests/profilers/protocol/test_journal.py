"""The journal: what is written is read back, torn lines are dropped, processes are kept apart."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.protocol.drift import Round, Segment
from proxyless_hw.profilers.protocol.journal import Journal

HEADER: Mapping[str, object] = {"setting": {"device": "x", "threads": "1"}, "workloads": ["a", "b"]}


def a_round(value: float) -> Round:
    visits = (Visit(value, value / 3, value * 1.1, 5, (value, value / 3)), Visit(0.1, 0.1, 0.1, 1))
    return Round((Segment(("a", "b"), visits, 0.7, 0.71), Segment(("b",), visits[1:])), part=2)


def write(path: Path, *values: float) -> None:
    with Journal(path, HEADER, resume=False) as journal:
        for value in values:
            journal.append(a_round(value))


def test_rounds_come_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, 0.1, 1 / 3, 1e-9)
    with Journal(path, HEADER, resume=True) as journal:
        assert journal.rounds == [a_round(0.1), a_round(1 / 3), a_round(1e-9)]


@pytest.mark.parametrize("cut", [1, 2, 10, 200])
def test_a_torn_last_line_is_dropped_and_writing_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    write(path, 0.1, 0.2)
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with Journal(path, HEADER, resume=True) as journal:
        assert journal.rounds == [a_round(0.1)]
        journal.append(a_round(0.3))
    with Journal(path, HEADER, resume=True) as journal:
        assert journal.rounds == [a_round(0.1), a_round(0.3)]


def test_damage_before_the_last_line_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, 0.1, 0.2)
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("0.1", "0.9", 1)
    path.write_text("".join(lines))
    with pytest.raises(ProfilingError, match="line 2 is damaged"):
        Journal(path, HEADER, resume=True)


def test_an_earlier_journal_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, 0.1)
    before = path.read_bytes()
    with pytest.raises(ProfilingError, match="--resume"):
        Journal(path, HEADER, resume=False)
    assert path.read_bytes() == before


OTHER_THREADS = {**HEADER, "setting": {"device": "x", "threads": "2"}}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (OTHER_THREADS, "setting: setting.threads: 1, now 2. Use"),
        ({**HEADER, "workloads": ["a", "c"]}, 'setting: workloads: ["a", "b"], now ["a", "c"]. U'),
    ],
)
def test_another_setting_never_mixes_in(
    tmp_path: Path, header: Mapping[str, object], said: str
) -> None:
    path = tmp_path / "j"
    write(path, 0.1)
    before = path.read_bytes()
    with pytest.raises(ProfilingError, match=re.escape(f"was begun with another {said}")):
        Journal(path, header, resume=True)
    assert path.read_bytes() == before


def killed_before_a_round(path: Path) -> None:
    """Leaves what a killed process leaves: the header alone."""
    with Journal(path, HEADER, resume=False) as journal:
        journal.append(a_round(0.1))
    first, _ = path.read_text().splitlines(keepends=True)
    path.write_text(first)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("left", ["header", "half a header", "nothing"])
@pytest.mark.parametrize("header", [HEADER, OTHER_THREADS])
def test_a_journal_without_rounds_hinders_no_start(
    tmp_path: Path, resume: bool, left: str, header: Mapping[str, object]
) -> None:
    path = tmp_path / "j"
    killed_before_a_round(path)
    content = path.read_bytes()
    path.write_bytes({"header": content, "half a header": content[:40], "nothing": b""}[left])
    with Journal(path, header, resume=resume) as journal:
        assert journal.rounds == []
        journal.append(a_round(0.3))
    with Journal(path, header, resume=True) as journal:
        assert journal.rounds == [a_round(0.3)]


def test_a_failed_start_leaves_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with pytest.raises(ZeroDivisionError), Journal(path, HEADER, resume=False):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    for content in ("my notes", "my notes\n", "\nmy notes", "a,b\n1,2\n", "{}\n"):
        path = tmp_path / "j"
        path.write_text(content)
        for resume in (False, True):
            with pytest.raises(ProfilingError, match="is not a journal"):
                Journal(path, HEADER, resume=resume)
        assert path.read_text() == content


def test_a_journal_replaced_while_it_is_opened_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    lock = fcntl.flock

    def late(descriptor: int, kind: int) -> None:
        lock(descriptor, kind)
        path.unlink()

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(ProfilingError, match="was removed while it was being opened"):
        Journal(path, HEADER, resume=False)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with (
        Journal(path, HEADER, resume=False),
        pytest.raises(ProfilingError, match="another process"),
    ):
        Journal(path, HEADER, resume=True)
    Journal(path, HEADER, resume=True).close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("x")
    with pytest.raises(ProfilingError, match=r"cannot write .*--output"):
        Journal(blocker / "t.csv.journal", HEADER, resume=False)


def test_a_full_disk_is_one_message_and_earlier_rounds_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j"
    with Journal(path, HEADER, resume=False) as journal:
        journal.append(a_round(0.1))

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.write", full)
            with pytest.raises(ProfilingError, match=r"No space left.*--resume"):
                journal.append(a_round(0.2))
    with Journal(path, HEADER, resume=True) as journal:
        assert journal.rounds == [a_round(0.1)]


def test_every_line_is_json_with_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "j"
    write(path, 0.1)
    for line in path.read_text().splitlines():
        assert set(json.loads(line)) == {"crc", "record"}
