"""What a vendor's compiler says of a model: the one interface that `profiler` knows.

Another compiler is one more file beside `vela` with a class that has these members, and one more
line of `registry.BUILT_IN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorEstimate:
    """What a compiler says of one operator of a model.

    Attributes:
        name: the operator's name in the model file, unique there.
        kind: what it does, as the compiler calls it (``Conv2D``).
        cycles: cycles of the NPU, those of what was fused into it included.
        on_cpu: it does not run on the NPU; its time is then not in any figure.
        added: the compiler put it there (a copy of the input into SRAM); the file has no such
            operator.
    """

    name: str
    kind: str
    cycles: float
    on_cpu: bool = False
    added: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """What a compiler says of one model.

    Attributes:
        seconds: time of one inference.
        cycles: cycles of one inference: the sum over `operators`.
        sram_bytes: peak use of SRAM.
        flash_bytes: what the constants take in flash; None where the configuration keeps them
            elsewhere.
        operators: in the order in which they run.
    """

    seconds: float
    cycles: float
    sram_bytes: float
    flash_bytes: float | None
    operators: tuple[OperatorEstimate, ...]

    @property
    def on_cpu(self) -> tuple[OperatorEstimate, ...]:
        """The operators that the NPU does not run."""
        return tuple(item for item in self.operators if item.on_cpu)

    def seconds_between(self, before: int, after: int) -> float:
        """Time without the first `before` and the last `after` operators of the file.

        What the compiler added at an end belongs to the operators that are left out there.

        Raises:
            ValueError: the model has no more operators than that.
        """
        own = [place for place, item in enumerate(self.operators) if not item.added]
        if before + after >= len(own):
            raise ValueError(f"only {len(own)} operators are left after compiling")
        first = own[before] if before else 0
        last = own[-1 - after] + 1 if after else len(self.operators)
        inner = self.operators[first:last]
        return self.seconds * sum(item.cycles for item in inner) / self.cycles


class NpuCompiler(Protocol):
    """A compiler that estimates what a TFLite file costs on an NPU.

    Attributes:
        runtime: what ``--runtime`` calls it.
    """

    runtime: str

    @property
    def version(self) -> str:
        """Its version.

        Raises:
            BackendUnavailableError: it is not installed; says how to get it.
        """
        ...

    @property
    def device(self) -> str:
        """The NPU that it compiles for, as people call it."""
        ...

    @property
    def setting(self) -> Sequence[tuple[str, str]]:
        """Options that decide a figure, by name, with the values that hold: defaults included."""
        ...

    def compile(self, model: Path, name: str) -> ModelEstimate:
        """Compiles a full-integer TFLite file. The same file always gives the same estimate.

        Args:
            model: the file; several may be compiled at once.
            name: what it is called in messages.

        Raises:
            BackendUnavailableError: the compiler is not installed.
            ProfilingError: it refuses the model, or its output is not as expected.
        """
        ...
