"""Does a network meet its target? Measured at the table's speed, with what the noise allows to say.

A measurement misses its target when its whole 95% interval lies beyond the tolerance; it agrees
when it lies within the tolerance and its interval excludes twice as much. Anything between is
undecided: the machine is too noisy for the time spent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from proxyless_hw.profilers.protocol.measurement import Measurement
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.units import format_value, in_unit

Verdict = Literal["agrees", "undecided", "missed"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)

TOLERANCE: Final = 0.03
"""How far a measurement may exceed its target."""


def verdict_of(target: float, median: float, low: float, high: float) -> Verdict:
    """Compares a target with a measurement and its 95% interval, all in one unit.

    A target is an upper bound, so what costs less agrees with it.
    """
    if low > target * (1 + TOLERANCE):
        return "missed"
    if median <= target * (1 + TOLERANCE) and high <= target * (1 + 2 * TOLERANCE):
        return "agrees"
    return "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Target, prediction and measurement of one network or file.

    Attributes:
        name: the network's name or the file's path.
        target: the target, in the measurement's unit as the prediction is.
        predicted: what the table says; None where the file does not say what it is made of.
        measured: the measurement; its `table_speed` decides where it is there.
        verdict: ``agrees``, ``undecided`` or ``missed``.
    """

    name: str
    target: float
    predicted: float | None
    measured: Measurement
    verdict: Verdict

    @property
    def unit(self) -> str:
        """Unit of every figure: the measurement's."""
        return self.measured.unit

    @property
    def decisive(self) -> tuple[float, float, float]:
        """Value and interval that the verdict was taken from, in `unit`."""
        speed = self.measured.table_speed
        if speed is None:
            return self.measured.median, self.measured.ci_low, self.measured.ci_high
        return speed.median, speed.ci_low, speed.ci_high

    def to_json(self) -> JsonObject:
        """The JSON form; in milliseconds every figure also as ``NAME_ms``."""
        speed = self.measured.table_speed
        figures = {
            "target": self.target,
            "predicted": self.predicted,
            "measured": self.measured.median,
            "measured_interval": [self.measured.ci_low, self.measured.ci_high],
            "table_speed": None if speed is None else speed.median,
            "table_speed_interval": None if speed is None else [speed.ci_low, speed.ci_high],
        }
        return {
            "name": self.name,
            **in_unit(figures, self.unit),
            "machine_speed": None if speed is None else speed.machine_speed,
            "verdict": self.verdict,
            "tolerance": TOLERANCE,
        }

    def sentence(self) -> str:
        """Target, prediction, measurement, the machine's speed and the verdict, for people."""
        value, low, high = self.decisive
        where = ""
        if self.measured.table_speed is not None:
            in_ms = self.unit == "ms"
            where = " at the table's speed" if in_ms else " corrected by the anchors"
        predicted = "" if self.predicted is None else f", predicted {self._text(self.predicted)}"
        target = f"target {self._text(self.target)}{predicted}"
        if self.measured.is_exact:
            text = f"{target}, estimated by the compiler {self._text(value)}"
            return f"{text}. {self._judgement(value)}"
        text = (
            f"{target}, measured {self._text(value)}{where} "
            f"(95% interval {self._text(low)} to {self._text(high)})"
        )
        text += speed_sentence(self.measured)
        return f"{text} {self._judgement(value)}"

    def _text(self, value: float) -> str:
        return format_value(value, self.unit)

    def _judgement(self, value: float) -> str:
        above = value / self.target - 1
        if self.verdict == "missed":
            way_on = (
                "Derive a faster network (proxyless-hw derive RUN --target-ms ...), or calibrate "
                "the table and search again."
                if self.unit == "ms"
                else "Derive a cheaper network (proxyless-hw derive RUN --target ...), or profile "
                "the table again and search again."
            )
            return (
                f"Missed: {above:.1%} above the target, more than the {TOLERANCE:.0%} allowed. "
                f"{way_on}"
            )
        if self.verdict == "undecided":
            return (
                "Undecided: the interval is too wide for a verdict on this machine now. Give more "
                "time with --budget, or close other programs."
            )
        if above < -TOLERANCE:
            return f"Agrees: {-above:.1%} below the target; a larger network would fit too."
        return f"Agrees: {above:+.1%} from the target."


def speed_sentence(item: Measurement) -> str:
    """How the machine has changed since the table was made; ends the sentence before."""
    if item.table_speed is None:
        return "."
    speed = item.table_speed.machine_speed
    raw = f"; {format_value(item.median, item.unit)} as the machine is now"
    if item.unit == "ms":
        change, words, same = speed - 1, ("slower", "faster"), "as fast as then"
    else:
        change, words, same = 1 / speed - 1, ("less", "more"), "as much as then"
    if abs(change) < 0.01:
        return f"{raw}, {same}."
    return f"{raw}, {abs(change):.0%} {words[change > 0]} than when the table was made."


def verification_of(target: float, predicted: float | None, measured: Measurement) -> Verification:
    """Judges one measurement; target and prediction are in its unit."""
    speed = measured.table_speed
    value = (measured.median, measured.ci_low, measured.ci_high)
    if speed is not None:
        value = (speed.median, speed.ci_low, speed.ci_high)
    return Verification(
        name=measured.name,
        target=target,
        predicted=predicted,
        measured=measured,
        verdict=verdict_of(target, *value),
    )
