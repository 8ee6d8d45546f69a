"""Any tool that times a model file: an NPU's, FPGA's or TPU's benchmark becomes a profiler.

Options (`ProfilerSettings.options`):

    command       the tool's command line with {model} where the model's path goes, for example
                  'vendor-bench --runs 20 {model}'; split into words as a shell would, but run
                  without one
    pattern       regular expression whose first group is the latency in milliseconds; of several
                  matches the last counts. Default: a number followed by 'ms'
    model_format  onnx (default) or tflite
    timeout       seconds that one call may take (120)
    device        name of the device, for the table's header
"""

from __future__ import annotations

import math
import re
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, did_you_mean
from proxyless_hw.files import scratch_folder
from proxyless_hw.profilers.base import ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.bounded_process import ProcessOutput, last_group, run_bounded
from proxyless_hw.profilers.environment import fingerprint
from proxyless_hw.profilers.model_files import MODEL_FORMATS, ModelFormat, write_model_files
from proxyless_hw.profilers.phone_flags import number

DEFAULT_PATTERN: Final = r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*ms\b"
PLACE: Final = "{model}"
MAX_OUTPUT: Final = 2**20

Run = Callable[[Sequence[str], float, int], ProcessOutput]


class CommandProfiler:
    """Times model files with a command. Options as this module's description lists them.

    Args:
        settings: options, batch size and precision. Threads are the command's own affair.
        run: runs a command: (words, seconds, most bytes of output) to what it printed.

    Raises:
        ProfilingError: an option is missing or wrong.
    """

    def __init__(self, settings: ProfilerSettings, run: Run = run_bounded) -> None:
        self.settings = settings
        self.run = run
        options = settings.options
        self.words = _words(options.get("command"))
        self.pattern = _pattern(options.get("pattern", DEFAULT_PATTERN))
        self.model_format = _model_format(options.get("model_format", "onnx"))
        self.timeout_s = number(options, "timeout", 120, 0.01, 86400)

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`)."""
        program = find_program(self.words[0])
        return {
            "device": self.settings.options.get("device", f"device of {Path(program).name}"),
            "device_kind": "command",
            "runtime": Path(program).name,
            "runtime_version": "unknown",
            "threads": str(self.settings.threads),
            "batch_size": str(self.settings.batch_size),
            "precision": self.settings.precision,
            "metric": self.settings.metric,
            "unit": "ms",
            "statistic": "median",
            "fingerprint": fingerprint(),
            "command": shlex.join(self.words),
            "pattern": self.pattern,
        }

    def open(self, workloads: Sequence[Workload]) -> CommandSession:
        """Writes the model files and runs the command on the first one.

        Raises:
            BackendUnavailableError: the command or a converter is not there.
            ProfilingError: a workload cannot be converted, or the command fails.
        """
        find_program(self.words[0])
        with ExitStack() as resources:
            folder = resources.enter_context(scratch_folder(ProfilingError))
            form = self._format_of(workloads)
            files = write_model_files(workloads, self.settings, form, folder)
            session = CommandSession(self, [item.name for item in workloads], files)
            session.visit([0] if workloads else [])
            session.resources = resources.pop_all()
        return session

    def _format_of(self, workloads: Sequence[Workload]) -> ModelFormat:
        """The form asked for; where none was, that of the files when all are of one."""
        endings = {item.file.suffix if item.file else "" for item in workloads}
        if "model_format" not in self.settings.options and endings == {".tflite"}:
            return "tflite"
        return self.model_format


class CommandSession:
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
        words = [word.replace(PLACE, str(self.files[index])) for word in profiler.words]
        output = profiler.run(words, profiler.timeout_s, MAX_OUTPUT)
        value = read_milliseconds(output, profiler, name)
        return Visit(value=value, min=value, p90=value, calls=1)

    def close(self) -> None:
        """Deletes the model files."""
        self.resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def read_milliseconds(output: ProcessOutput, profiler: CommandProfiler, name: str) -> float:
    """The latency in a command's output.

    Raises:
        ProfilingError: the command failed or hung, or its output holds no latency.
    """
    program = profiler.words[0]
    if output.timed_out:
        raise ProfilingError(
            f"'{program}' did not end within {profiler.timeout_s:g} s on {name} and was stopped. "
            "Allow more with --option timeout=SECONDS."
        )
    if output.too_long:
        raise ProfilingError(
            f"'{program}' printed more than {MAX_OUTPUT >> 10} KiB on {name} and was stopped. "
            "Make it print less."
        )
    if output.exit_code:
        raise ProfilingError(
            f"'{program}' failed on {name} with exit code {output.exit_code}: {_shown(output.text)}"
        )
    text = last_group(profiler.pattern, output.text)
    if text is None:
        raise ProfilingError(
            f"'{program}' printed nothing that --pattern {profiler.pattern!r} matches on {name}. "
            f"It ended with: {_shown(output.text)}"
        )
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise ProfilingError(
            f"the first group of --pattern must match milliseconds above 0: it matched "
            f"{text[:60]!r} in the output of '{program}' on {name}."
        )
    return value


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


def _words(command: str | None) -> list[str]:
    if not command:
        raise ProfilingError(
            "--device command needs --command 'TOOL ... {model}': received none. "
            "Example: --command 'vendor-bench {model}' --pattern 'mean: ([0-9.]+) ms'"
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
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as cause:
        raise ProfilingError(
            f"--pattern must be a regular expression ({cause}): received {pattern[:120]!r}."
        ) from cause
    if groups < 1:
        raise ProfilingError(
            "--pattern must have a group in parentheses for the milliseconds: received "
            f"{pattern[:120]!r}."
        )
    return pattern


def _model_format(name: str) -> ModelFormat:
    for form in MODEL_FORMATS:
        if form == name:
            return form
    raise ProfilingError(
        f"--model-format must be one of {', '.join(MODEL_FORMATS)}: received "
        f"'{name[:60]}'.{did_you_mean(name, MODEL_FORMATS)}"
    )


def _shown(text: str) -> str:
    """The last line that says something, without control characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1][:200] if lines else "(nothing)"
    return "".join(character if character.isprintable() else "?" for character in last)
