"""What `--verify` found, and its file form, the object under ``verify`` in result.json."""

from __future__ import annotations

from dataclasses import dataclass

from proxyless_hw.predictors.verdict import TOLERANCE, VERDICTS, Verdict
from proxyless_hw.runs.result_fields import Interval, ResultFields, ResultRow
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.units import in_unit


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredNetwork(ResultRow):
    """A derived network that was measured whole.

    Attributes:
        predicted: sum of the table.
        measured: its cost at the table's speed, in the same unit.
        interval: the 95% interval; None where a file lacks it.
        unit: the unit.
    """

    predicted: float
    measured: float
    interval: Interval | None = None
    unit: str = "ms"

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        figures = {
            "predicted": self.predicted,
            "measured": self.measured,
            "interval": self.interval,
        }
        return in_unit(figures, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRound:
    """One derivation whose finalists were measured.

    Attributes:
        correction: what the table's sums were multiplied by when it was derived.
        networks: the measured finalists.
    """

    correction: float
    networks: tuple[MeasuredNetwork, ...]

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        return {
            "correction": self.correction,
            "networks": [network.to_json() for network in self.networks],
        }

    @classmethod
    def from_json(cls, read: ResultFields) -> VerificationRound:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        correction = read.optional("correction")
        return cls(
            correction=1.0 if correction is None else correction,
            networks=tuple(MeasuredNetwork.from_json(row) for row in read.objects("networks")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchVerification:
    """What the measurements of `--verify` say. Fields that an older file lacks are None.

    Attributes:
        name: of the network that was measured last, the winner.
        unit: unit of all costs.
        target, predicted: of the winner; the prediction is corrected.
        measured: the winner's cost at the table's speed; as measured without anchors.
        interval: its 95% interval.
        raw_measured, raw_interval: as the machine was when it was measured.
        table_speed, table_speed_interval: at the table's speed; None without anchors.
        machine_speed: speed of the machine now over then; None without anchors.
        table_sum: sum of the table for the winner.
        correction: what sums of the table are multiplied by to predict; 1 where nothing was
            corrected.
        verdict: None where an older file does not say.
        sentence: target, measurement and verdict in words.
        failure: why a correction was not made; None where there was no reason against it.
        rounds: the derivations whose finalists were measured.
        device: of the table.
        resolution, num_classes: the deployment shape that was measured.
    """

    name: str | None
    unit: str = "ms"
    target: float | None
    predicted: float | None
    measured: float | None
    interval: Interval | None
    raw_measured: float | None
    raw_interval: Interval | None
    table_speed: float | None
    table_speed_interval: Interval | None
    machine_speed: float | None
    table_sum: float | None
    correction: float = 1.0
    verdict: Verdict | None
    sentence: str | None
    failure: str | None
    rounds: tuple[VerificationRound, ...] = ()
    device: str | None
    resolution: int | None
    num_classes: int | None

    @property
    def explanation(self) -> str:
        """Why the measurement misses the target or decides nothing."""
        return self.failure or self.sentence or ""

    def to_json(self) -> JsonObject:
        """The object that result.json holds; costs in milliseconds also as ``NAME_ms``."""
        figures = {
            "target": self.target,
            "predicted": self.predicted,
            "measured": self.measured,
            "measured_interval": self.raw_interval,
            "table_speed": self.table_speed,
            "table_speed_interval": self.table_speed_interval,
            "interval": self.interval,
            "raw_measured": self.raw_measured,
        }
        return {
            "name": self.name,
            **in_unit(figures, self.unit),
            "machine_speed": self.machine_speed,
            "verdict": self.verdict,
            "tolerance": TOLERANCE,
            "table_sum": self.table_sum,
            **({"table_ms": self.table_sum} if self.unit == "ms" else {}),
            "correction": self.correction,
            "agrees": self.verdict == "agrees",
            "sentence": self.sentence,
            "failure": self.failure,
            "rounds": [item.to_json() for item in self.rounds],
            "device": self.device,
            "resolution": self.resolution,
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_json(cls, read: ResultFields) -> SearchVerification:
        """Reads what `to_json` gave, or an older version did.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is malformed.
        """
        found = read.plain(cls)
        if found["table_sum"] is None:  # an older file
            found["table_sum"] = read.optional("table_ms")
        found["raw_interval"] = read.interval("measured_interval")
        found["rounds"] = tuple(map(VerificationRound.from_json, read.objects("rounds")))
        return cls(**found, verdict=_verdict(read))


def _verdict(read: ResultFields) -> Verdict | None:
    """The verdict; older files say only whether the measurement agrees."""
    agrees = read.switch("agrees")
    word = read.values.get("verdict")
    if word is None:
        return None if agrees is None else "agrees" if agrees else "missed"
    found = next((known for known in VERDICTS if word == known), None)
    if found is None:
        read.fail("verdict", f"must be one of {', '.join(VERDICTS)}", word)
    return found
