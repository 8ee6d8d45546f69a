"""Makes a profiler of any tool that times a model file: a benchmark of an NPU, FPGA or TPU.

Options: `device_options.CommandOptions`. ``{result}`` in the command stands for a file that
the tool writes its result to. The file is read together with what the tool prints.

A table's header holds these options, so that `recorded_options` can measure there again.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSession, ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.command.bounded_process import (
    ProcessOutput,
    read_result_file,
    run_bounded,
)
from proxyless_hw.profilers.command.output import OutputRule, Reading, read_value
from proxyless_hw.profilers.command.tool_numbers import last_line, shown
from proxyless_hw.profilers.device_options import CommandOptions
from proxyless_hw.profilers.file_forms import ModelFormat
from proxyless_hw.profilers.models.model_files import write_model_files
from proxyless_hw.profilers.options import given_options, parse_options
from proxyless_hw.storage.files import scratch_folder

PLACE: Final = "{model}"
RESULT_PLACE: Final = "{result}"
MAX_OUTPUT: Final = 2**20

Run = Callable[[Sequence[str], float, int], ProcessOutput]


class CommandProfiler:
    """Times model files with a command.

    Args:
        settings: options, batch size and precision. Threads are the command's own affair.
        run: runs a command: (words, seconds, most bytes of output) to what it printed.

    Raises:
        ProfilingError: an option is missing or wrong.
    """

    def __init__(self, settings: ProfilerSettings, run: Run = run_bounded) -> None:
        self.settings = settings
        self.run = run
        self.options = parse_options(CommandOptions, settings.options, "--device command")
        self.words = tuple(_words(self.options.command))
        self.rule = _rule(self.options, settings.metric, self.words)
        self._read: Reading | None = None
        self._rounded_ms = 0.0
        self._notes: dict[str, dict[str, None]] = {}
        self._form: ModelFormat | None = self.options.model_format

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        What the tool printed is included after a session's first visit. Facts about this machine
        are left out: the tool may run on a board elsewhere.
        """
        options, rule = self.options, self.rule
        program = Path(find_program(self.words[0])).name
        described = {
            "device": options.device or f"device of {program}",
            "device_kind": "command",
            "runtime": program,
            "runtime_version": "unknown",
            "threads": str(self.settings.threads),
            "batch_size": str(self.settings.batch_size),
            "precision": self.settings.precision,
            "metric": self.settings.metric,
            "unit": "MB" if self.settings.metric == "memory" else "ms",
            "statistic": "median",
            "fingerprint": f"what {program} runs on",
            "command": shlex.join(self.words),
        }
        if rule.pattern is not None:
            described["pattern"] = rule.pattern
        if rule.unit is not None:
            described["command_unit"] = rule.unit
        if self._form is not None:
            described["model_format"] = self._form
        given = given_options(options)
        described |= {key: given[key] for key in ("timeout", "delegate_partial") if key in given}
        if self._read is not None:
            described["visit_statistic"] = self._read.statistic
            described["statistic"] = "mean" if self._read.statistic == "mean" else "median"
        if self._rounded_ms:
            described["rounded_to"] = f"{self._rounded_ms:.3g} ms"
        return {**described, **{key: "; ".join(found) for key, found in self._notes.items()}}

    def note(self, reading: Reading, name: str) -> None:
        """Keeps what a visit tells for the header.

        Raises:
            ProfilingError: another statistic was printed before.
        """
        if self._read is not None and self._read.statistic != reading.statistic:
            raise ProfilingError(
                f"'{self.words[0]}' gave its {self._read.statistic} before and its "
                f"{reading.statistic} on {name}; one table holds one statistic. Name the number: "
                "--pattern."
            )
        self._read = reading
        self._rounded_ms = max(self._rounded_ms, reading.rounded_ms)
        for key, value in reading.notes.items():
            self._notes.setdefault(key, {})[value] = None

    def open(self, workloads: Sequence[Workload]) -> CommandSession:
        """Writes the model files and runs the command on the first one.

        Raises:
            BackendUnavailableError: the command or a converter is not there.
            ProfilingError: a workload cannot be converted, or the command fails.
        """
        find_program(self.words[0])
        with ExitStack() as resources:
            folder = resources.enter_context(scratch_folder(ProfilingError))
            self._form = form = self._format_of(workloads)
            files = write_model_files(workloads, self.settings, form, folder)
            session = CommandSession(self, [item.name for item in workloads], files)
            session.visit([0] if workloads else [])
            session.resources = resources.pop_all()
        return session

    def _format_of(self, workloads: Sequence[Workload]) -> ModelFormat:
        """The form that was asked for, or else that of the files if all have one form."""
        endings = {item.file.suffix.lower() if item.file else "" for item in workloads}
        if self.options.model_format is None and endings == {".tflite"}:
            return "tflite"
        return self.options.model_format or "onnx"


class CommandSession(ProfilerSession):
    """Model files on disk; a visit runs the command once.

    Attributes:
        resources: closed together with the session: the folder of the files.
    """

    def __init__(
        self, profiler: CommandProfiler, names: Sequence[str], files: Sequence[Path]
    ) -> None:
        self.profiler = profiler
        self.names = list(names)
        self.files = list(files)
        self.resources = ExitStack()

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Runs the command once per workload, in order.

        Raises:
            BackendUnavailableError: the command cannot be started.
            ProfilingError: it failed, hung, printed too much, or printed no number.
        """
        return [self._visit(index) for index in order]

    def _visit(self, index: int) -> Visit:
        profiler, name = self.profiler, self.names[index]
        result = self.files[index].with_name("result.txt")
        places = {PLACE: str(self.files[index]), RESULT_PLACE: str(result)}
        words = [_filled(word, places) for word in profiler.words]
        result.unlink(missing_ok=True)
        output = profiler.run(words, profiler.options.timeout, MAX_OUTPUT)
        check_ended(output, profiler, name)
        text = output.text
        if any(RESULT_PLACE in word for word in profiler.words):
            text += "\n" + read_result_file(result, profiler.words[0], name, MAX_OUTPUT)
        reading = read_value(text, profiler.rule, name)
        profiler.note(reading, name)
        return Visit(value=reading.value, min=reading.value, p90=reading.value, calls=1)

    def close(self) -> None:
        """Deletes the model files."""
        self.resources.close()


def _filled(word: str, places: Mapping[str, str]) -> str:
    for place, path in places.items():
        word = word.replace(place, path)
    return word


def check_ended(output: ProcessOutput, profiler: CommandProfiler, name: str) -> None:
    """Checks that a command came to its end.

    Raises:
        ProfilingError: it failed, hung or printed too much.
    """
    program = profiler.words[0]
    if output.timed_out:
        raise ProfilingError(
            f"'{program}' did not end within {profiler.options.timeout:g} s on {name} and "
            "was stopped. Allow more with --option timeout=SECONDS."
        )
    if output.too_long:
        raise ProfilingError(
            f"'{program}' printed more than {MAX_OUTPUT >> 10} KiB on {name} and was stopped. "
            "Make it print less."
        )
    if output.exit_code:
        raise ProfilingError(
            f"'{program}' failed on {name} with exit code {output.exit_code}: "
            f"{shown(last_line(output.text))}"
        )


def find_program(program: str) -> str:
    """Path of a command's program.

    Raises:
        BackendUnavailableError: it is not there, or may not be run.
    """
    found = shutil.which(program)
    if found is None:
        raise BackendUnavailableError(
            f"the command '{program[:200]}' is not on PATH or may not be run. Give its full path."
        )
    return found


def _rule(options: CommandOptions, metric: str, words: tuple[str, ...]) -> OutputRule:
    if metric == "energy":
        raise ProfilingError("--device command does not measure energy. Measure --metric latency.")
    if metric == "memory" and options.pattern is not None:
        raise ProfilingError(
            "--pattern finds a latency; memory is read from tools that are known. Leave "
            "--pattern out, or measure --metric latency."
        )
    return OutputRule(
        program=words[0],
        words=words,
        metric=metric,
        pattern=None if options.pattern is None else _pattern(options.pattern),
        unit=options.unit,
        allow_partial=options.delegate_partial == "allow",
    )


def _words(command: str | None) -> list[str]:
    if not command:
        raise ProfilingError(
            "--device command needs --command 'TOOL ... {model}': received none. "
            "Example: --command 'vendor-bench {model}' --pattern 'mean: ([0-9.]+) (?P<unit>us|ms)'"
        )
    try:
        words = shlex.split(command)
    except ValueError as cause:
        raise ProfilingError(
            f"--command cannot be split into words ({cause}): received {command[:120]!r}."
        ) from cause
    if not words or PLACE not in "\0".join(words[1:]):
        raise ProfilingError(
            f"--command must hold {PLACE} where the model's path goes: received {command[:120]!r}."
        )
    return words


def _pattern(pattern: str) -> str:
    if len(pattern) > 1000:
        raise ProfilingError(f"--pattern may have at most 1000 characters: it has {len(pattern)}.")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as cause:
        raise ProfilingError(
            f"--pattern must be a regular expression ({cause}): received {pattern[:120]!r}."
        ) from cause
    if compiled.groups < 1 + ("unit" in compiled.groupindex):
        raise ProfilingError(
            "--pattern must have a group in parentheses for the number, beside one named unit: "
            f"received {pattern[:120]!r}."
        )
    return pattern
