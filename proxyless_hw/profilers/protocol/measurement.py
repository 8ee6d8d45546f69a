"""What is known of a measured network or file, and how one is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models.building import REFERENCE_OP
from proxyless_hw.profilers.options import given_options
from proxyless_hw.profilers.protocol.sessions import is_exact
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.tables.anchors import anchors_of
from proxyless_hw.tables.table import LatencyTable

ANCHOR_PREFIX: Final = "anchor "


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpeed:
    """A measured cost at the speed that the machine had when a table was made.

    Attributes:
        median: the raw value divided by the median over anchors of their cost now to then.
        ci_low, ci_high: its 95% interval; it contains what the anchors do not say exactly.
        machine_speed: median over anchors of their cost then to now; 0.5 is half as fast.
    """

    median: float
    ci_low: float
    ci_high: float
    machine_speed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured network or file.

    Attributes:
        name: the network's name or the file's path.
        median: its cost at the machine's undisturbed speed.
        ci_low, ci_high: the 95% interval.
        p90: 90th percentile of single samples, corrected as the median is.
        min: smallest sample, likewise.
        unit: unit of these values: ms, mJ or MB.
        rounds: visits.
        samples: timed calls.
        converged: whether the goal was met.
        cache: state of the caches: ``network`` (called again and again), ``hot`` or ``cold``.
        batch_size: images per call; None where the device does not say.
        input_shape: the input's shape as ``1x3x224x224``; None likewise.
        table_speed: the value at a table's speed; None without a table or its anchors.

    Example:
        >>> import proxyless_hw as ph
        >>> measured = ph.benchmark("model.onnx")  # doctest: +SKIP
        >>> measured.median, measured.unit  # doctest: +SKIP
        (4.21, 'ms')
    """

    name: str
    median: float
    ci_low: float
    ci_high: float
    p90: float
    min: float
    unit: str
    rounds: int
    samples: int
    converged: bool
    cache: str = ""
    batch_size: int | None = None
    input_shape: str | None = None
    table_speed: TableSpeed | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it is the same each time: a compiler's estimate, whose interval has no width."""
        return self.ci_low == self.ci_high

    @property
    def half_width(self) -> float:
        """Half the interval's width as a fraction of the median."""
        return (self.ci_high - self.ci_low) / 2 / self.median

    def to_json(self) -> JsonObject:
        """The JSON object: flat, with the ``*_ms`` keys as well where the unit is ms."""
        document: JsonObject = asdict(self)
        del document["table_speed"]
        if self.unit == "ms":
            keys = ("median", "ci_low", "ci_high", "p90", "min")
            document |= {f"{key}_ms": document[key] for key in keys}
        if self.table_speed is not None:
            speed = self.table_speed
            for key in ("median", "ci_low", "ci_high"):
                document[f"table_speed_{key}"] = getattr(speed, key)
            document["machine_speed"] = speed.machine_speed
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Measurement:
        """Reads what `to_json` gave."""
        names = {field.name for field in fields(cls)} - {"table_speed"}
        known = {key: value for key, value in document.items() if key in names}
        if "machine_speed" not in document:
            return cls(**known)
        parts = {key: document[f"table_speed_{key}"] for key in ("median", "ci_low", "ci_high")}
        speed = TableSpeed(**parts, machine_speed=document["machine_speed"])
        return cls(**known, table_speed=speed)


@dataclass(frozen=True, slots=True)
class Anchors:
    """What has to be measured beside something for its value at a table's speed.

    Attributes:
        values: op key to its cost in the table.
        cache: the table's header line about the caches.
    """

    values: Mapping[str, float]
    cache: str = ""

    @classmethod
    def of(cls, table: LatencyTable) -> Anchors | None:
        """The anchors of a table; None if its header has no anchors (an imported or older table).

        Raises:
            TableError: the header line cannot be read.
        """
        found = anchors_of(table)
        if not found:
            return None
        values = {op.key: value for op, value in found.items()}
        return cls(values, table.metadata.get("cache", ""))

    def workloads(self) -> list[Workload]:
        """One workload per anchor."""
        return [Workload(name=ANCHOR_PREFIX + key, op=OpSpec.from_key(key)) for key in self.values]


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """How networks and files are measured.

    Attributes:
        settings: runtime, threads, batch size, precision, metric and device options; the runtime
            of files follows from their suffix when it names none.
        device: device kind.
        timing: the protocol's settings; 1% by default. A budget is a limit: less is used when all
            intervals are narrow enough.
        sessions: times the runners are built; 8 on a CPU and 1 elsewhere when None.
        anchors: of the table at whose speed values are given too; None for raw values only.
        progress: called after each round.
        say: receives a message about what takes longer than a few seconds before measuring.
    """

    settings: ProfilerSettings = ProfilerSettings()
    device: str = "cpu"
    timing: TimingConfig = TimingConfig(goal=0.01, spend=False)
    sessions: int | None = None
    anchors: Anchors | None = None
    progress: Callable[[Progress], None] | None = None
    say: Callable[[str], None] | None = None

    def beside(self, header: Mapping[str, str]) -> list[Workload]:
        """What is measured beside networks and files: the anchors, and the reference at the end.

        Nothing beside a compiler's estimates, which do not vary.

        Args:
            header: what the device says of itself.
        """
        if is_exact(header):
            return []
        anchors = [] if self.anchors is None else self.anchors.workloads()
        return [*anchors, Workload(name=f"reference {REFERENCE_OP.key}", op=REFERENCE_OP)]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form for another process, without `progress` and `say`."""
        return {
            "settings": {
                **asdict(replace(self.settings, options={})),
                "options": given_options(self.settings.options),
            },
            "device": self.device,
            "timing": asdict(self.timing),
            "sessions": self.sessions,
            "anchors": None if self.anchors is None else asdict(self.anchors),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Measuring:
        """Reads what `to_dict` gave."""
        settings = dict(document["settings"])
        if settings["cpus"] is not None:
            settings["cpus"] = tuple(settings["cpus"])
        anchors = document["anchors"]
        return cls(
            settings=ProfilerSettings(**settings),
            device=document["device"],
            timing=TimingConfig(**document["timing"]),
            sessions=document["sessions"],
            anchors=None if anchors is None else Anchors(**anchors),
        )
