"""An Android phone: TFLite models through adb and the stock ``benchmark_model``.

Options: `device_options.MobileOptions`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.adb_device import (
    QUERY_SECONDS,
    STATE_COMMANDS,
    AdbDevice,
    PhoneState,
    choose_device,
    find_adb,
    parse_state,
)
from proxyless_hw.profilers.android.benchmark_model import failure_reason
from proxyless_hw.profilers.android.phone_flags import (
    DELEGATE_KEYS,
    benchmark_flags,
    phone_options,
    runtime_name,
    tool_command,
)
from proxyless_hw.profilers.android.phone_loop import loop_script, split_runs
from proxyless_hw.profilers.android.phone_runs import PhoneFacts, PhoneRun, read_loop_run
from proxyless_hw.profilers.base import ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.models.model_files import write_model_files
from proxyless_hw.profilers.options import given_options
from proxyless_hw.storage.files import scratch_folder

PHONE_FOLDER: Final = "/data/local/tmp"
DEFAULT_TOOL: Final = f"{PHONE_FOLDER}/benchmark_model"
HOT: Final = 3
"""Android's thermal status 'severe': throttling that a user notices."""
POLL_SECONDS: Final = 10.0

_QUERIES: Final = (
    "getprop ro.product.manufacturer",
    "getprop ro.product.model",
    "getprop ro.build.version.release",
    "getprop ro.board.platform",
    "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null",
)


class AdbProfiler:
    """Times .tflite files on a phone.

    Args:
        settings: threads, batch size, precision, options.
        sleep: pauses for seconds (cool-down).
    """

    def __init__(
        self, settings: ProfilerSettings, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self.options = phone_options(settings)
        self.sleep = sleep
        self._device: AdbDevice | None = None
        self._visit_statistic: str | None = None
        self._facts = PhoneFacts()

    @property
    def device(self) -> AdbDevice:
        """The phone, found on first use.

        Raises:
            BackendUnavailableError: no adb, no phone, or not a usable one.
        """
        if self._device is None:
            self._device = choose_device(find_adb(self.options.adb), self.options.serial)
        return self._device

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        After a session's first visit ``visit_statistic`` says whether single visits gave medians
        or, from older builds of the tool, means, and ``ran_on`` which delegate ran the nodes.
        """
        settings = self.settings
        benchmark_flags(settings)
        maker, model, release, platform, governor = self._query()
        name = model if model.startswith(maker) else f"{maker} {model}"
        described = {
            "device": name.strip() or self.device.serial,
            "device_kind": "mobile",
            "runtime": runtime_name(settings),
            "runtime_version": self._tool_version(),
            "threads": str(settings.threads),
            "batch_size": str(settings.batch_size),
            "precision": settings.precision,
            "metric": settings.metric,
            "unit": "MB" if settings.metric == "memory" else "ms",
            "statistic": "median",
            "fingerprint": f"{platform or 'unknown platform'}; governor {governor or 'unknown'}; "
            f"Android {release or 'unknown'}",
            "command": " ".join(
                [*tool_command(settings, "benchmark_model"), *benchmark_flags(settings)]
            ),
            **self._delegate_options(),
        }
        if self._visit_statistic is not None:
            described["visit_statistic"] = self._visit_statistic
        return {**described, **self._facts.header()}

    def _delegate_options(self) -> dict[str, str]:
        """The options that measuring again needs, beside the delegate, which the runtime names."""
        given = given_options(self.options)
        return {key: given[key] for key in DELEGATE_KEYS if key in given}

    def _query(self) -> list[str]:
        script = "; ".join(f"{query}; echo" for query in _QUERIES)
        blocks = self.device.shell(script, QUERY_SECONDS).stdout.replace("\r", "").split("\n\n")
        answers = [" ".join(block.split())[:80] for block in blocks]
        return (answers + [""] * len(_QUERIES))[: len(_QUERIES)]

    def _tool_version(self) -> str:
        """The tool's checksum, in place of a version, which it does not print."""
        local = self._local_tool()
        if local is not None:
            return f"md5 {hashlib.md5(local.read_bytes(), usedforsecurity=False).hexdigest()}"
        script = f"md5sum {shlex.quote(self._tool_path())} 2>/dev/null"
        found = re.match(r"\s*([0-9a-f]{32})\b", self.device.shell(script, QUERY_SECONDS).stdout)
        return f"md5 {found[1]}" if found else "unknown"

    def _local_tool(self) -> Path | None:
        given = Path(self.options.benchmark_model)
        is_here = self.options.benchmark_model != DEFAULT_TOOL and given.is_file()
        return given if is_here else None

    def _tool_path(self) -> str:
        given = self.options.benchmark_model
        if not given.startswith("/"):
            raise ProfilingError(
                f"--option benchmark_model must be a file here or an absolute path on the phone: "
                f"received '{given[:200]}'."
            )
        return given

    def open(self, workloads: Sequence[Workload]) -> AdbSession:
        """Converts the workloads, copies them to the phone, and runs the first one once.

        Raises:
            BackendUnavailableError: no adb, no phone, no benchmark_model, or no converter.
            ProfilingError: a workload cannot be converted, copied or run.
        """
        flags = benchmark_flags(self.settings)
        device = self.device
        folder = f"{PHONE_FOLDER}/proxyless-hw-{secrets.token_hex(4)}"
        local_tool = self._local_tool()
        with scratch_folder(ProfilingError) as temporary:
            files = write_model_files(workloads, self.settings, "tflite", temporary)
            device.shell(f"mkdir -p {shlex.quote(folder)}", QUERY_SECONDS)
            device.push(files, folder)
            if local_tool is not None:
                device.push([local_tool], f"{folder}/benchmark_model")
                device.shell(f"chmod 755 {shlex.quote(folder)}/benchmark_model", QUERY_SECONDS)
        tool = self._tool_path() if local_tool is None else f"{folder}/benchmark_model"
        session = AdbSession(
            device,
            folder,
            [workload.name for workload in workloads],
            [f"{folder}/{file.name}" for file in files],
            shlex.join(tool_command(self.settings, tool)),
            flags,
            self.settings,
            self.sleep,
            self._note,
        )
        with ExitStack() as cleanup:
            cleanup.callback(session.close)
            session.visit([0] if workloads else [])
            cleanup.pop_all()
        return session

    def _note(self, run: PhoneRun, name: str) -> None:
        statistic = run.statistic
        if self._visit_statistic not in (None, statistic):
            raise ProfilingError(
                f"benchmark_model gave a {self._visit_statistic} before and a {statistic} for "
                f"{name}; one table holds one statistic. Was the tool replaced meanwhile?"
            )
        self._visit_statistic = statistic
        self._facts.note(run, name)


class AdbSession:
    """Models on a phone, visited in one shell loop per call."""

    def __init__(
        self,
        device: AdbDevice,
        folder: str,
        names: Sequence[str],
        models: Sequence[str],
        command: str,
        flags: Sequence[str],
        settings: ProfilerSettings,
        sleep: Callable[[float], None],
        note: Callable[[PhoneRun, str], None],
    ) -> None:
        self.device = device
        self.folder = folder
        self.names = list(names)
        self.models = list(models)
        self.command = command
        self.flags = list(flags)
        self.settings = settings
        self.sleep = sleep
        self.note = note
        options = phone_options(settings)
        self.max_battery_c = options.max_battery_c
        self.cool_down_s = options.cool_down_s
        self.run_s = 2 * options.max_secs + 20
        self.last_state = PhoneState()
        self._open = True

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Runs the tool on models in order, after a cool-down where the phone is hot.

        Raises:
            BackendUnavailableError: the tool is not on the phone.
            ProfilingError: the phone is gone or stays hot, or a model failed; it is named.
        """
        if not order:
            return []
        self._cool_down()
        script = loop_script(
            [self.models[index] for index in order],
            self.command,
            self.flags,
            STATE_COMMANDS,
            f"{self.folder}/run",
        )
        result = self.device.shell(script, self.run_s * len(order))
        output = split_runs(result.stdout)
        visits = []
        for index, run in zip(order, output.runs, strict=False):
            if run.exit_code is None:
                break
            done = read_loop_run(run, self.settings, self.names[index])
            self.note(done, self.names[index])
            visits.append(done.visit)
        if len(visits) != len(order) or not output.finished:
            raise ProfilingError(
                f"the phone's loop stopped after {len(visits)} of {len(order)} models (adb exit "
                f"code {result.returncode}: {failure_reason(result.stderr or output.tail)}). Was "
                "the phone unplugged? Finished rounds are kept: go on with --resume."
            )
        self.last_state = parse_state(output.tail)
        return visits

    def output_of(self, index: int, flags: Sequence[str]) -> str:
        """Runs the tool on one model with further flags; what it printed.

        Raises:
            BackendUnavailableError: the tool is not on the phone.
            ProfilingError: the phone is gone or stays hot, or the model failed.
        """
        self._cool_down()
        script = loop_script([self.models[index]], self.command, [*self.flags, *flags])
        result = self.device.shell(script, self.run_s)
        runs = split_runs(result.stdout).runs
        if not runs:
            raise ProfilingError(
                f"the phone ran nothing (adb exit code {result.returncode}: "
                f"{failure_reason(result.stderr)}). Was it unplugged?"
            )
        read_loop_run(runs[0], self.settings, self.names[index])
        return runs[0].output

    def _cool_down(self) -> None:
        waited = 0.0
        while self._is_hot(self.last_state):
            if waited >= self.cool_down_s:
                raise ProfilingError(
                    f"the phone stays hot after {waited:.0f} s of cool-down ({self._heat()}). Let "
                    "it cool and go on with --resume, or allow more: --option max_battery_c=..."
                )
            self.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
            self.last_state = self.device.state()

    def _is_hot(self, state: PhoneState) -> bool:
        too_warm = state.battery_c is not None and state.battery_c > self.max_battery_c
        return too_warm or (state.thermal_status is not None and state.thermal_status >= HOT)

    def _heat(self) -> str:
        state = self.last_state
        return f"battery {state.battery_c} °C, thermal status {state.thermal_status}"

    def close(self) -> None:
        """Removes what was copied to the phone. It is not an error if the phone is gone."""
        if not self._open:
            return
        self._open = False
        self.device.remove(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
