"""Vela, Arm's compiler for the Ethos-U55, U65 and U85, run as a process of its own.

Vela writes two CSV files beside the compiled model: a summary (inference time, memory) and one row
per operator. The rows' cycles add up to the summary's.
"""

from __future__ import annotations

import csv
import importlib.util
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.command.bounded_process import ProcessOutput, run_bounded
from proxyless_hw.profilers.command.tool_numbers import last_line, shown
from proxyless_hw.profilers.device_options import VelaOptions
from proxyless_hw.profilers.host.environment import package_version
from proxyless_hw.profilers.npu.compiler import ModelEstimate, OperatorEstimate
from proxyless_hw.storage.files import scratch_folder

Run = Callable[[Sequence[str], float, int], ProcessOutput]

MAX_OUTPUT: Final = 2**24
MAX_CSV: Final = 2**24
VERSION_SECONDS: Final = 60.0
KIB: Final = 1024
COLUMNS: Final = ("Original Operator", "NNG Operator", "Target", "Op Cycles", "Name")

INSTALL: Final = "Install it: pip install 'proxyless-hw[npu]'"

DEFAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("Ethos_U65_Client_Server", "Dedicated_Sram_384KB"),
    "ethos-u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
"""System configuration and memory mode of a family where none is named: Vela's own defaults."""


class Vela:
    """Compiles TFLite files with Vela.

    Args:
        options: accelerator and its surroundings.
        run: runs a command: (words, seconds, most bytes of output) to what it printed.

    Raises:
        ProfilingError: a configuration file without the names of its sections.
    """

    runtime = "vela"

    def __init__(self, options: VelaOptions, run: Run = run_bounded) -> None:
        self.options = options
        self.run = run
        if options.config is not None and None in (options.system_config, options.memory_mode):
            raise ProfilingError(
                "--option config names a Vela configuration file, and what is used of it has to "
                "be named too: give --option system_config=NAME and --option memory_mode=NAME."
            )
        system, memory = DEFAULTS[options.accelerator.rpartition("-")[0]]
        self.system_config = options.system_config or system
        self.memory_mode = options.memory_mode or memory

    @cached_property
    def program(self) -> tuple[str, ...]:
        """The words that start Vela: the package of this Python, else ``vela`` on PATH.

        Raises:
            BackendUnavailableError: neither is there.
        """
        if _has_package():
            # -P: what lies in the working folder is not imported.
            return (sys.executable, "-P", "-m", "ethosu.vela")
        found = shutil.which("vela")
        if found is None:
            raise BackendUnavailableError(
                f"--device npu needs Arm's compiler Vela (package ethos-u-vela), which is not "
                f"installed. {INSTALL}"
            )
        return (found,)

    @cached_property
    def version(self) -> str:
        """Vela's version.

        Raises:
            BackendUnavailableError: Vela is not installed, or does not start.
        """
        if len(self.program) > 1:
            return package_version("ethos-u-vela")
        output = self.run([*self.program, "--version"], VERSION_SECONDS, MAX_OUTPUT)
        words = output.text.split()
        if output.exit_code or not words:
            raise BackendUnavailableError(
                f"'{self.program[0]} --version' ended with code {output.exit_code}: "
                f"{shown(last_line(output.text))}. {INSTALL}"
            )
        return words[-1]

    @property
    def device(self) -> str:
        """The accelerator, as Arm calls it: ``Arm Ethos-U55-256``."""
        return f"Arm Ethos-U{self.options.accelerator.removeprefix('ethos-u')}"

    @property
    def setting(self) -> Sequence[tuple[str, str]]:
        """The options that decide a figure, defaults included."""
        options = self.options
        listed = {
            "accelerator": options.accelerator,
            "system_config": self.system_config,
            "memory_mode": self.memory_mode,
            "optimise": options.optimise,
            "arena_cache_size": options.arena_cache_size,
            "config": options.config,
        }
        return [(name, str(value)) for name, value in listed.items() if value is not None]

    def compile(self, model: Path, name: str) -> ModelEstimate:
        """Compiles a TFLite file (see `NpuCompiler.compile`).

        Raises:
            BackendUnavailableError: Vela is not installed or cannot be started.
            ProfilingError: Vela refuses the model, takes too long, or writes something else than
                is expected.
        """
        with scratch_folder(ProfilingError) as folder:
            self._run(model, folder, name)
            summary = _rows(folder / f"{model.stem}_summary_{self.system_config}.csv", name)
            operators = _rows(folder / f"{model.stem}_per-layer.csv", name)
        if len(summary) != 1:
            raise _unexpected(name, f"a summary of one row, found {len(summary)}")
        return self._estimate(summary[0], operators, name)

    def _run(self, model: Path, folder: Path, name: str) -> None:
        options = self.options
        words = [
            *self.program,
            str(model),
            *("--accelerator-config", options.accelerator),
            *("--system-config", self.system_config),
            *("--memory-mode", self.memory_mode),
            *("--optimise", options.optimise.capitalize()),
            *("--output-dir", str(folder)),
            "--verbose-performance",
        ]
        if options.config is not None:
            words += ["--config", str(options.config.absolute())]
        if options.arena_cache_size is not None:
            words += ["--arena-cache-size", str(options.arena_cache_size)]
        output = self.run(words, options.timeout, MAX_OUTPUT)
        if output.timed_out:
            raise ProfilingError(
                f"Vela did not compile {name} within {options.timeout:g} s and was stopped. Allow "
                "more: --option timeout=SECONDS."
            )
        if output.exit_code or output.too_long:
            raise ProfilingError(
                f"Vela {self.version} cannot compile {name} (exit code {output.exit_code}): "
                f"{shown(last_line(output.text))}"
            )

    def _estimate(
        self, summary: Mapping[str, str], rows: Sequence[Mapping[str, str]], name: str
    ) -> ModelEstimate:
        for key, asked in (
            ("system_config", self.system_config),
            ("memory_mode", self.memory_mode),
        ):
            if summary.get(key) != asked:
                raise _unexpected(name, f"{key} {asked}, found {str(summary.get(key))[:60]!r}")
        operators = _operators(rows, name)
        cycles = _number(summary, "cycles_total", name)
        total = sum(item.cycles for item in operators)
        if not math.isclose(cycles, total, rel_tol=1e-6, abs_tol=1):
            raise _unexpected(
                name, f"operators of {cycles:.0f} cycles together, found {total:.0f} cycles"
            )
        flash = sum(
            _number(summary, f"{place}_flash_memory_used", name)
            for place in ("on_chip", "off_chip")
        )
        in_flash = "flash" in summary.get("weights_storage_area", "").lower()
        return ModelEstimate(
            seconds=_number(summary, "inference_time", name),
            cycles=cycles,
            sram_bytes=KIB * _number(summary, "sram_memory_used", name),
            flash_bytes=KIB * flash if in_flash else None,
            operators=operators,
        )


def _has_package() -> bool:
    """Whether this Python has Vela's package."""
    try:
        return importlib.util.find_spec("ethosu.vela") is not None
    except ModuleNotFoundError:
        return False


def _operators(rows: Sequence[Mapping[str, str]], name: str) -> tuple[OperatorEstimate, ...]:
    """One per operator of the file: Vela has several rows where it splits or fuses one."""
    found: list[OperatorEstimate] = []
    for row in rows:
        missing = [column for column in COLUMNS if column not in row]
        if missing:
            raise _unexpected(name, f"columns {', '.join(missing)}, found {', '.join(row)[:120]}")
        item = OperatorEstimate(
            name=row["Name"].strip(),
            kind=row["Original Operator"].strip(),
            cycles=_number(row, "Op Cycles", name),
            on_cpu=row["Target"].strip() != "NPU",
            added=row["NNG Operator"].strip() == "MemoryCopy",
        )
        if found and replace(found[-1], cycles=item.cycles) == item:
            item = replace(item, cycles=item.cycles + found.pop().cycles)
        found.append(item)
    return tuple(found)


def _rows(path: Path, name: str) -> list[dict[str, str]]:
    """The rows of a CSV file that Vela wrote, by column."""
    try:
        if path.stat().st_size > MAX_CSV:
            raise _unexpected(name, f"a file of at most {MAX_CSV >> 20} MiB: {path.name} is larger")
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as cause:
        raise _unexpected(name, f"the file {path.name}, which it did not write") from cause
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise _unexpected(name, f"{path.name} to be readable ({cause})") from cause
    return [{str(key): str(value) for key, value in row.items() if key is not None} for row in rows]


def _number(row: Mapping[str, str], column: str, name: str) -> float:
    text = row.get(column, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise _unexpected(name, f"a number in column {column}, found {text[:40]!r}")
    return value


def _unexpected(name: str, what: str) -> ProfilingError:
    return ProfilingError(
        f"Vela's output on {name} has a form that is not known: expected {what}. Tested is the "
        "version in constraints.txt: pip install 'proxyless-hw[npu]' -c constraints.txt"
    )
