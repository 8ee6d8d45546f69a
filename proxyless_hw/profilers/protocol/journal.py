"""The journal of a measurement: each finished round is on disk before the next one starts.

A line of JSON holds a record and its checksum. The first record names the setting and the
workloads; each later one is a round with its raw samples. A process that dies while it writes
leaves a torn last line, which is dropped; a damaged line elsewhere is an error. A journal without
rounds holds nothing that was measured: it hinders no new start, and is removed when it is closed.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.protocol.drift import Round, Segment
from proxyless_hw.profilers.protocol.setting_differences import setting_differences
from proxyless_hw.storage.files import append_to_open_file
from proxyless_hw.storage.locks import is_file_at

SCHEMA = "proxyless-hw-journal/1"
LINE_START = b'{"crc":'


def journal_path(output: Path) -> Path:
    """The journal that belongs to a table."""
    return output.with_name(f"{output.name}.journal.jsonl")


class Journal:
    """An open journal, locked against other processes. Used as a context manager.

    Attributes:
        path: where it lies.
        header: the first record: setting and workloads.
        rounds: the rounds read back from an interrupted measurement.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], resume: bool) -> None:
        """Opens and locks a journal.

        Args:
            path: the file.
            header: setting and workloads of this measurement.
            resume: whether to continue from the rounds of an existing journal; without it a journal
                that has rounds is refused.

        Raises:
            ProfilingError: the place cannot be written, another process holds the journal, it
                holds rounds and `resume` is not given, it is damaged, its rounds belong to another
                setting, or the file is no journal.
        """
        self.path = path
        self.header = dict(header)
        self.rounds: list[Round] = []
        self._holds_rounds = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666
            )
        except OSError as cause:
            raise ProfilingError(
                f"cannot write {path}: {cause.strerror}. Choose another place with --output."
            ) from cause
        try:
            self._begin(resume)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _begin(self, resume: bool) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            raise ProfilingError(
                f"another process is writing {self.path}. Wait for it, or choose another --output."
            ) from cause
        if not is_file_at(self._descriptor, self.path):
            raise ProfilingError(
                f"{self.path} was removed while it was being opened. Start again, or choose "
                "another --output."
            )
        records, sound_bytes = _parse(self._read(), self.path)
        header = {"schema": SCHEMA, **self.header}
        self._holds_rounds = len(records) > 1
        if not self._holds_rounds:
            self._truncate(0)
            self._append(header)
            return
        if not resume:
            raise ProfilingError(
                f"{self.path} holds {len(records) - 1} rounds of an earlier measurement. Go on "
                "with --resume, delete it to start anew, or choose another --output."
            )
        _check_same(records[0], header, self.path)
        self.rounds = [_round_from(record, self.path) for record in records[1:]]
        self._truncate(sound_bytes)

    def _truncate(self, size: int) -> None:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as cause:
            raise ProfilingError(f"cannot write {self.path}: {cause.strerror}.") from cause

    def _read(self) -> bytes:
        chunks = []
        offset = 0
        while chunk := os.pread(self._descriptor, 1 << 20, offset):
            chunks.append(chunk)
            offset += len(chunk)
        return b"".join(chunks)

    def append(self, record: Round) -> None:
        """Writes a round and waits until it is on disk.

        Raises:
            ProfilingError: the disk is full or fails; the rounds before it stay.
        """
        self._append(_round_to(record))
        self._holds_rounds = True

    def _append(self, record: Mapping[str, Any]) -> None:
        body = json.dumps(record, allow_nan=False, separators=(",", ":"))
        line = f'{{"crc":{zlib.crc32(body.encode())},"record":{body}}}\n'.encode()
        try:
            append_to_open_file(self._descriptor, line)
        except OSError as cause:
            raise ProfilingError(
                f"cannot write {self.path}: {cause.strerror}. Rounds written before are kept: "
                "make room and go on with --resume."
            ) from cause

    def close(self) -> None:
        """Releases the lock. The file with its raw samples stays, unless it has no rounds."""
        if self._descriptor >= 0:
            if not self._holds_rounds and is_file_at(self._descriptor, self.path):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _parse(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """Returns the sound records and how many bytes they take; only the last line may be torn."""
    records: list[dict[str, Any]] = []
    sound = 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        record = _record(line) if number < len(lines) else None
        if record is None:
            if not records and not _may_be_torn(line):
                raise ProfilingError(
                    f"{path} is not a journal and is not overwritten. Move it away, or choose "
                    "another --output."
                )
            if number >= len(lines) - 1:
                break
            raise ProfilingError(
                f"{path}, line {number} is damaged (its checksum does not match). Delete the file "
                "and measure anew."
            )
        records.append(record)
        sound += len(line) + 1
    return records, sound


def _may_be_torn(line: bytes) -> bool:
    """Whether a line may be the rest of a journal's first line: its beginning, or zeros."""
    return LINE_START.startswith(line[: len(LINE_START)]) or not line.strip(b"\0")


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("record"), dict):
        return None
    body = json.dumps(document["record"], separators=(",", ":"))
    record: dict[str, Any] = document["record"]
    return record if zlib.crc32(body.encode()) == document.get("crc") else None


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    differences = setting_differences(found, json.loads(json.dumps(wanted)))
    if differences:
        raise ProfilingError(
            f"{path} was begun with another setting: {differences}. Use the same options with "
            "--resume, or another --output."
        )


def _round_to(record: Round) -> dict[str, Any]:
    return {
        "part": record.part,
        "segments": [
            {
                "before": segment.before,
                "after": segment.after,
                "visits": [
                    [
                        *(name, visit.value, visit.min, visit.p90, visit.calls),
                        *(list(visit.samples), *[True] * visit.preempted),
                    ]
                    for name, visit in zip(segment.names, segment.visits, strict=True)
                ],
            }
            for segment in record.segments
        ],
    }


def _round_from(record: Mapping[str, Any], path: Path) -> Round:
    try:
        return Round(
            tuple(_segment_from(segment) for segment in record["segments"]), int(record["part"])
        )
    except (KeyError, TypeError, ValueError) as cause:
        raise ProfilingError(
            f"{path} holds a record that is not a round ({cause}). Delete it and measure anew."
        ) from cause


def _segment_from(segment: Mapping[str, Any]) -> Segment:
    visits = [
        Visit(
            *(float(value), float(low), float(p90), int(calls)),
            tuple(map(float, samples)),
            preempted=preempted == [True],
        )
        for _, value, low, p90, calls, samples, *preempted in segment["visits"]
    ]
    ends = [segment["before"], segment["after"]]
    before, after = (None if end is None else float(end) for end in ends)
    return Segment(
        names=tuple(str(visit[0]) for visit in segment["visits"]),
        visits=tuple(visits),
        before=before,
        after=after,
    )
