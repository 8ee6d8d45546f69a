"""The logs of a bundle, read back into a table. Nothing in the folder is trusted or followed."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from proxyless_hw._version import __version__
from proxyless_hw.errors import TableError
from proxyless_hw.profilers.android.bundle import MAX_ROUNDS, SCHEMA, log_name, visited
from proxyless_hw.profilers.android.phone_flags import DelegateChoice, runtime_name
from proxyless_hw.profilers.android.phone_loop import split_runs
from proxyless_hw.profilers.android.phone_runs import PhoneFacts, read_loop_run
from proxyless_hw.profilers.base import ProfilerSettings, Visit
from proxyless_hw.profilers.device_options import MobileOptions
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.profilers.profiled_table import entry_of, protocol_line
from proxyless_hw.profilers.protocol.drift import Round, Segment
from proxyless_hw.profilers.protocol.quality import quality_block
from proxyless_hw.profilers.protocol.timing import TimingConfig, estimates
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.storage.documents import parse_json
from proxyless_hw.tables.table import LatencyTable

MAX_LOG_BYTES: Final = 64 * 2**20
MAX_MANIFEST_BYTES: Final = 16 * 2**20
MAX_MODELS: Final = 9999

_UNITS = {"latency": "ms", "memory": "MB"}


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What a bundle's manifest says, checked."""

    id: str
    names: tuple[str, ...]
    rounds: tuple[tuple[tuple[int, ...], ...], ...]
    reference: int
    settings: ProfilerSettings
    timing: TimingConfig
    header: Mapping[str, str]


def read_bundle(directory: Path) -> LatencyTable:
    """Makes the table of a bundle from the rounds that its logs hold.

    Only files of the names that ``run.sh`` writes are read; a symbolic link among them is refused,
    and no path from the manifest is ever opened.

    Args:
        directory: the bundle, with ``manifest.json`` and ``logs``.

    Raises:
        TableError: the folder is no bundle, has no logs, or a file in it breaks a rule.
        ProfilingError: a model failed on the device; it is named.
        BackendUnavailableError: the tool could not be run there.
    """
    manifest = _read_manifest(directory)
    device = _read_device(directory, manifest)
    rounds: list[Round] = []
    statistics: set[str] = set()
    facts = PhoneFacts()
    for number, segments in enumerate(manifest.rounds, start=1):
        path = directory / "logs" / log_name(number)
        if path.exists() or path.is_symlink():
            text = _read(directory, f"logs/{path.name}", MAX_LOG_BYTES)
            rounds.append(_read_round(text, path, manifest, segments, statistics, facts))
    if not rounds:
        raise TableError(
            f"{directory / 'logs'} holds no finished round. Run run.sh on the device first."
        )
    if len(statistics) > 1:
        raise TableError(
            f"{directory}: its rounds give {' and '.join(sorted(statistics))}; one table holds one "
            "statistic. "
            "Run all rounds with one build of benchmark_model."
        )
    used = sorted({index for segments in manifest.rounds for part in segments for index in part})
    names = [manifest.names[index] for index in used]
    measured = estimates(rounds, names, manifest.timing)
    return LatencyTable(
        {OpSpec.from_key(item.name): entry_of(item) for item in measured},
        {
            **device,
            **manifest.header,
            "statistic": "median",
            "visit_statistic": statistics.pop(),
            **facts.header(),
            "protocol": f"bundle of {len(rounds)} rounds; {protocol_line(manifest.timing)}",
            "source": f"bundle {manifest.id} read by proxyless-hw {__version__}",
            **quality_block(measured, rounds, None, None, manifest.timing),
        },
        str(directory),
    )


def _read_round(
    text: str,
    path: Path,
    manifest: _Manifest,
    segments: tuple[tuple[int, ...], ...],
    statistics: set[str],
    facts: PhoneFacts,
) -> Round:
    output = split_runs(text)
    order = visited([list(segment) for segment in segments], manifest.reference)
    if not output.finished or len(output.runs) != len(order):
        raise TableError(
            f"{path} was cut off: it holds {len(output.runs)} of {len(order)} runs. Delete it and "
            "start run.sh again on the device."
        )
    visits: list[Visit] = []
    for index, run in zip(order, output.runs, strict=True):
        done = read_loop_run(run, manifest.settings, manifest.names[index])
        visit = done.visit
        facts.note(done, manifest.names[index])
        if not visit.value > 0:
            raise TableError(
                f"{path}: a measured value is positive: {manifest.names[index]} gave {visit.value}."
            )
        statistics.add(done.statistic)
        visits.append(visit)
    parts = []
    place = 0
    for segment in segments:
        end = place + len(segment) + 1
        parts.append(
            Segment(
                tuple(manifest.names[index] for index in segment),
                tuple(visits[place + 1 : end]),
                visits[place].value,
                visits[end].value,
            )
        )
        place = end
    return Round(tuple(parts))


def _read_device(directory: Path, manifest: _Manifest) -> dict[str, str]:
    path = directory / "logs" / "device.txt"
    fields: dict[str, str] = {}
    for line in _read(directory, "logs/device.txt", 2**16).splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), " ".join(value.split())[:120])
    if fields.get("bundle") != manifest.id:
        raise TableError(
            f"{path} belongs to another bundle: it names {fields.get('bundle', 'none')!r}, the "
            f"manifest {manifest.id!r}."
        )
    maker, model = fields.get("manufacturer", ""), fields.get("model", "")
    name = model if model.startswith(maker) else f"{maker} {model}"
    tool = fields.get("tool", "")
    return {
        "device": name.strip() or fields.get("host") or "unknown device",
        "device_kind": "mobile",
        "runtime": runtime_name(manifest.settings),
        "runtime_version": f"md5 {tool}" if tool else "unknown",
        "fingerprint": f"{fields.get('platform') or fields.get('system') or 'unknown platform'}; "
        f"governor {fields.get('governor') or 'unknown'}; "
        f"Android {fields.get('android') or 'unknown'}",
        "created": fields.get("date", "unknown"),
    }


def _read_manifest(directory: Path) -> _Manifest:
    if not directory.is_dir():
        raise TableError(f"a bundle must be a folder: received {directory}.")
    path = directory / "manifest.json"
    document = parse_json(_read(directory, path.name, MAX_MANIFEST_BYTES), TableError, str(path))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise TableError(f"{path}: schema must be '{SCHEMA}': received {str(found)[:80]!r}.")
    return _ManifestReader(path).read(document)


class _ManifestReader:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, document: dict[str, Any]) -> _Manifest:
        names = self.names(document)
        metric = self.text(document, "metric")
        precision = self.text(document, "precision")
        if metric not in _UNITS or precision not in ("fp32", "fp16", "int8"):
            self.fail("metric and precision", "must be known ones", (metric, precision))
        threads = self.integer(document, "threads", 1, 1024)
        batch_size = self.integer(document, "batch_size", 1, 4096)
        resolutions = document.get("resolutions")
        if not isinstance(resolutions, list) or len(resolutions) > 64:
            self.fail("resolutions", "must be a list", resolutions)
        sizes = [self.integer({"item": size}, "item", 1, 8192) for size in resolutions]
        return _Manifest(
            id=self.text(document, "id"),
            names=names,
            rounds=self.rounds(document, len(names)),
            reference=self.integer(document, "reference", 0, len(names) - 1),
            settings=ProfilerSettings(
                threads=threads,
                batch_size=batch_size,
                precision=precision,  # type: ignore[arg-type]  # checked above
                metric=metric,  # type: ignore[arg-type]  # checked above
                options=self.options(document),
            ),
            timing=TimingConfig(
                seed=self.integer(document, "seed", 0, 2**62),
                segment=self.integer(document, "segment", 1, MAX_MODELS),
            ),
            header={
                "threads": str(threads),
                "batch_size": str(batch_size),
                "precision": precision,
                "metric": metric,
                "unit": _UNITS[metric],
                "space": self.text(document, "space"),
                "resolutions": " ".join(map(str, sizes)),
                "num_classes": str(self.integer(document, "num_classes", 1, 65536)),
                "command": self.text(document, "command"),
            },
        )

    def names(self, document: dict[str, Any]) -> tuple[str, ...]:
        names = document.get("models")
        if not isinstance(names, list) or not 1 <= len(names) <= MAX_MODELS:
            self.fail("models", f"must be a list of 1 to {MAX_MODELS} op keys", type(names))
        for index, name in enumerate(names):
            try:
                OpSpec.from_key(name if isinstance(name, str) else "")
            except ValueError:
                self.fail(f"models[{index}]", "must be an op's key", name)
        if len(set(names)) != len(names):
            self.fail("models", "must not repeat an op", len(names))
        return tuple(names)

    def rounds(
        self, document: dict[str, Any], models: int
    ) -> tuple[tuple[tuple[int, ...], ...], ...]:
        rounds = document.get("rounds")
        if not isinstance(rounds, list) or not 1 <= len(rounds) <= MAX_ROUNDS:
            self.fail("rounds", f"must be a list of 1 to {MAX_ROUNDS} rounds", type(rounds))
        expected: list[int] | None = None
        for index, segments in enumerate(rounds):
            where = f"rounds[{index}]"
            if not isinstance(segments, list) or not all(isinstance(x, list) for x in segments):
                self.fail(where, "must be a list of lists of model numbers", type(segments))
            flat = [number for segment in segments for number in segment]
            if not all(type(number) is int and 0 <= number < models for number in flat):
                self.fail(where, f"must hold numbers from 0 to {models - 1}", flat[:20])
            expected = sorted(flat) if expected is None else expected
            if sorted(flat) != expected or len(set(flat)) != len(flat) or not flat:
                self.fail(where, "must visit the same models, each once", flat[:20])
        return tuple(tuple(tuple(segment) for segment in segments) for segments in rounds)

    def options(self, document: dict[str, Any]) -> MobileOptions:
        options = document.get("options", {})
        if not isinstance(options, dict) or not all(isinstance(v, str) for v in options.values()):
            self.fail("options", "must be a mapping of texts", options)
        parsed = parse_options(MobileOptions, options, str(self.path))
        DelegateChoice.of(parsed).flags()
        return parsed

    def text(self, document: dict[str, Any], key: str) -> str:
        value = document.get(key)
        if not isinstance(value, str) or not 1 <= len(value) <= 500 or not value.isprintable():
            self.fail(key, "must be a line of text", value)
        return value

    def integer(self, document: Mapping[str, Any], key: str, low: int, high: int) -> int:
        value = document.get(key)
        if type(value) is not int or not low <= value <= high:
            self.fail(key, f"must be a whole number from {low} to {high}", value)
        return value

    def fail(self, field: str, rule: str, value: object) -> NoReturn:
        raise TableError(f"{self.path}: {field} {rule}: received {str(value)[:80]!r}.")


def _read(directory: Path, name: str, limit: int) -> str:
    """Reads a regular file of the bundle; a link among its parts is refused."""
    path = directory
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise TableError(f"{path} is a symbolic link; a bundle is read without following any.")
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise TableError(f"{path} is not a regular file.")
        if status.st_size > limit:
            raise TableError(f"{path} may have at most {limit} bytes: it has {status.st_size}.")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as cause:
        raise TableError(f"cannot read {path}: {cause.strerror or cause}.") from cause
