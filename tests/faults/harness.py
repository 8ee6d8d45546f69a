"""Whole commands in processes that can be killed, starved of disk, or signalled.

Each case is a process of its own: forked from a server process that has imported torch, the
runtimes and scikit-learn once (multiprocessing's fork server), so that a case does not begin with
four seconds of imports. From the fork on it has its own memory, files and end, and SIGKILL ends it
as it ends any other process. What it runs is the command line's own entry point.

A case may also be told what goes wrong at its n-th file operation below a folder: it kills itself
there, or the operation fails as on a full or read-only disk. Opening for writing, making, renaming
and removing are seen through Python's audit events; writing and flushing by wrapping them.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NoReturn

import pytest

PRELOADED = (
    *("torch", "torch.onnx", "onnx", "onnxruntime", "scipy.optimize", "sklearn.datasets", "rich"),
    *("sklearn.ensemble", "sklearn.model_selection", "jinja2", "rich.progress", "torchvision"),
    *(f"proxyless_hw.commands.{name}" for name in ("profile", "search", "train", "export")),
    *("proxyless_hw.cli", "proxyless_hw.pipeline.deploy", "proxyless_hw.report.report"),
    *("proxyless_hw.search.driver", "proxyless_hw.train.driver", "proxyless_hw.train.observer"),
    *("proxyless_hw.profilers.profile", "proxyless_hw.profilers.runtimes.onnxruntime"),
    *("proxyless_hw.profilers.runtimes.network_form", "proxyless_hw.profilers.command.profiler"),
    *("proxyless_hw.predictors.fit", "proxyless_hw.predictors.transfer"),
)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DISK_FULL = frozenset(("open", "write", "mkdir", "fsync"))
"""What a full disk refuses; renaming and removing still work there."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What goes wrong in a case.

    Attributes:
        folder: file operations below it count, from 1.
        kill_at: the process sends itself `kill_with` before this operation.
        kill_with: a signal.
        fail_at: this operation and those after it fail with `error`.
        error: an errno. With ENOSPC only what needs room fails, with any other everything.
        largest_file: bytes; the kernel refuses to let a file grow beyond.
        scratch: where temporary files go; the system's own place when None.
        environment: variables that are set in the process.
    """

    folder: Path
    kill_at: int | None = None
    kill_with: signal.Signals = signal.SIGKILL
    fail_at: int | None = None
    error: int = errno.ENOSPC
    largest_file: int | None = None
    scratch: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        code: exit code; negative for the signal that ended it.
        out, err: what it printed.
        operations: file operations it made, in order, as far as it got; kind and path.
        seconds: from start to end.
    """

    code: int
    out: str
    err: str
    operations: tuple[str, ...]
    seconds: float


class Running:
    """A case in progress.

    Args:
        arguments: of the command line.
        logs: an own folder for what it prints; not below `plan.folder`.
        plan: what goes wrong.
    """

    def __init__(self, arguments: Sequence[str], logs: Path, plan: Plan) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        for name in ("out", "err", "operations"):
            (logs / name).write_bytes(b"")
        self.logs = logs
        self.begin = time.monotonic()
        self.process = _context().Process(target=_run, args=(list(arguments), logs, plan))
        self.process.start()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process.pid is not None
        return self.process.pid

    def err(self) -> str:
        """What it has printed on standard error so far."""
        return (self.logs / "err").read_text(errors="replace")

    def send(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.process.is_alive():
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Waits for the end; whether it came.

        In small steps: a machine that suspends all of this for a while takes one step, not time.
        """
        for _ in range(max(1, round(seconds / 0.05))):
            self.process.join(0.05)
            if self.process.exitcode is not None:
                return True
        return False

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until something is so, which must come before the end and within two minutes."""
        for _ in range(2400):
            if condition():
                return
            assert not self.wait(0.05), f"it ended before {what}:\n{self.err()[-2000:]}"
        raise AssertionError(f"it goes on without {what}:\n{self.err()[-2000:]}")

    def end(self, timeout: float = 120.0) -> Outcome:
        """Waits for the end, which must come."""
        ended = self.wait(timeout)
        seconds = time.monotonic() - self.begin
        if not ended:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"no end after {timeout:.0f} s:\n{self.err()[-2000:]}")
        code = self.process.exitcode
        self.process.close()
        out = (self.logs / "out").read_text(errors="replace")
        operations = (self.logs / "operations").read_text(errors="replace").splitlines()
        return Outcome(code, out, self.err(), tuple(operations), seconds)


def run(
    arguments: Sequence[str], logs: Path, plan: Plan, kill_after: float | None = None
) -> Outcome:
    """Runs a case to its end, or until it is killed after so many seconds."""
    case = Running(arguments, logs, plan)
    if kill_after is not None:
        case.process.join(kill_after)
        case.send(signal.SIGKILL)
    return case.end()


def _context() -> Any:
    """The context of a fork server that has one thread; this process keeps its own environment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_THREAD.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return context


def _run(arguments: list[str], logs: Path, plan: Plan) -> NoReturn:
    """In the process: binds its output to files, arms the plan, runs the command line."""
    for descriptor, name in ((1, "out"), (2, "err")):
        opened = os.open(logs / name, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    if plan.scratch is not None:
        os.environ["TMPDIR"] = str(plan.scratch)
        tempfile.tempdir = None
    os.environ.update(plan.environment)
    # A shell that starts this in the background has it ignored, and every child with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from proxyless_hw.cli import main

    _Watch(plan, os.open(logs / "operations", os.O_WRONLY | os.O_APPEND)).arm()
    if plan.largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (plan.largest_file, resource.RLIM_INFINITY))
    code = 0
    try:
        main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)


class _Watch:
    """Counts file operations below a folder and does what the plan says at one of them."""

    def __init__(self, plan: Plan, record: int) -> None:
        self.plan = plan
        self.record = record
        self.root = os.path.realpath(plan.folder)
        self.count = 0
        self.busy = False
        self.write, self.fsync = os.write, os.fsync

    def arm(self) -> None:
        """From here on operations count; it cannot be undone in this process."""
        sys.addaudithook(self._audit)
        os.write, os.fsync = self._write, self._fsync  # type: ignore[assignment]
        Path.write_bytes = _whole_write(Path.write_bytes, self)  # type: ignore[method-assign]
        Path.write_text = _whole_write(Path.write_text, self)  # type: ignore[method-assign]

    def happens(self, kind: str, path: object) -> None:
        """Counts an operation, when it is below the folder, and acts on it."""
        place = self._place(path)
        if place is None or self.busy:
            return
        self.count += 1
        with self.looking_away():
            self.write(self.record, f"{kind} {place}\n".encode())
        if self.count == self.plan.kill_at:
            os.kill(os.getpid(), self.plan.kill_with)
        if self.plan.fail_at is not None and self.count >= self.plan.fail_at:
            number = self.plan.error
            if number != errno.ENOSPC or kind in DISK_FULL:
                raise OSError(number, os.strerror(number), str(path))

    @contextlib.contextmanager
    def looking_away(self) -> Iterator[None]:
        """Within it nothing is counted or refused."""
        self.busy = True
        try:
            yield
        finally:
            self.busy = False

    def _place(self, path: object) -> str | None:
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return None
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        absolute = os.path.abspath(os.fsdecode(path))
        inside = absolute == self.root or absolute.startswith(self.root + os.sep)
        return absolute if inside else None

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and not isinstance(path, int):
                self.happens("open", path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.truncate"):
            self.happens(event.removeprefix("os."), arguments[0])

    def _write(self, descriptor: int, data: Any) -> int:
        try:
            self.happens("write", descriptor)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.write(descriptor, data[: len(data) // 2])
            raise
        return self.write(descriptor, data)

    def _fsync(self, descriptor: int) -> None:
        self.happens("fsync", descriptor)
        self.fsync(descriptor)


def _whole_write(write: Callable[..., int], watch: _Watch) -> Callable[..., int]:
    """A disk that fills up in the middle of a file leaves half of it."""

    def method(self: Path, data: Any, *arguments: Any, **options: Any) -> int:
        try:
            watch.happens("write", self)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                with watch.looking_away():
                    write(self, data[: len(data) // 2], *arguments, **options)
            raise
        return write(self, data, *arguments, **options)

    return method
