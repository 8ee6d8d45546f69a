"""A phone behind adb: which one, files onto it, commands on it, its temperature."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, did_you_mean

WAYS_ON: Final = (
    "Without a phone here: write the models and a script with --bundle DIR, run it there, and read "
    "its logs with 'proxyless-hw table import DIR'; or measure LiteRT on this machine with "
    "--device cpu --runtime litert."
)

STATE_COMMANDS: Final = (
    "dumpsys battery 2>/dev/null",
    "dumpsys thermalservice 2>/dev/null | head -n 40",
)
"""What a segment's loop prints last; phones without these services print nothing."""

_LOST = re.compile(
    r"^(adb: )?(error: )?(device .*(not found|offline)|device still connecting|closed$"
    r"|no devices/emulators found|protocol fault|connection reset|cannot connect to daemon)",
    re.MULTILINE,
)
_ADVICE = {
    "unauthorized": "Unlock it and accept the dialog 'Allow USB debugging'.",
    "offline": "Plug it in again, or restart adb: adb kill-server",
    "recovery": "Start it normally.",
    "sideload": "Start it normally.",
    "bootloader": "Start it normally.",
}
PUSH_SECONDS: Final = 600
QUERY_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class PhoneState:
    """Temperature and battery; None where the phone does not say.

    Attributes:
        battery_c: battery temperature in degrees Celsius.
        battery_percent: charge.
        thermal_status: Android's throttling level, 0 (none) to 6 (shutdown).
    """

    battery_c: float | None = None
    battery_percent: int | None = None
    thermal_status: int | None = None


class AdbDevice:
    """One phone. Every command goes to adb as a list of arguments; no shell runs on this host.

    Args:
        serial: the phone's serial.
        executable: path of adb.
    """

    def __init__(self, serial: str, executable: str) -> None:
        self.serial = serial
        self.executable = executable

    def push(self, files: Sequence[Path], folder: str) -> None:
        """Copies files into a folder of the phone, or one file to a path.

        Raises:
            ProfilingError: the phone is gone, or has no room.
        """
        for file in files:
            result = self._adb(["push", str(file), folder], PUSH_SECONDS)
            if result.returncode:
                self._raise_if_lost(result)
                raise ProfilingError(
                    f"cannot copy to {self.serial}:{folder}: {_last_line(result)}. Is there room?"
                )

    def shell(self, script: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Runs shell text on the phone; the caller has quoted what came from outside.

        Raises:
            ProfilingError: the phone is gone, or it took longer than `seconds`.
        """
        result = self._adb(["shell", script], seconds)
        self._raise_if_lost(result)
        return result

    def remove(self, folder: str) -> None:
        """Deletes a folder on the phone, if the phone is still there.

        Raises:
            ProfilingError: adb hangs.
        """
        self._adb(["shell", f"rm -rf {shlex.quote(folder)}"], QUERY_SECONDS)

    def state(self) -> PhoneState:
        """Reads temperature and battery.

        Raises:
            ProfilingError: the phone is gone.
        """
        return parse_state(self.shell("\n".join(STATE_COMMANDS), QUERY_SECONDS).stdout)

    def _adb(self, arguments: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        return run_adb(self.executable, ["-s", self.serial, *arguments], seconds)

    def _raise_if_lost(self, result: subprocess.CompletedProcess[str]) -> None:
        # Only adb itself writes to this stream; the phone's own errors are merged into stdout.
        if result.returncode and _LOST.search(result.stderr):
            raise ProfilingError(
                f"the phone {self.serial} is gone: {_last_line(result)}. Finished rounds are kept: "
                "plug it in and go on with --resume."
            )


def run_adb(
    executable: str, arguments: Sequence[str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Runs adb.

    Raises:
        BackendUnavailableError: adb is not there or cannot be run.
        ProfilingError: it took longer than `seconds`.
    """
    try:
        return subprocess.run(
            [executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError as cause:
        raise BackendUnavailableError(f"there is no adb at {executable}. {WAYS_ON}") from cause
    except OSError as cause:
        raise BackendUnavailableError(
            f"adb at {executable} cannot be run: {cause.strerror or cause}. {WAYS_ON}"
        ) from cause
    except subprocess.TimeoutExpired as cause:
        raise ProfilingError(
            f"adb {arguments[-2] if len(arguments) > 1 else ''} did not end within {seconds:.0f} s "
            "and was stopped. Is the phone asleep or hanging? Finished rounds are kept: --resume."
        ) from cause


def find_adb(given: str | None) -> str:
    """Path of adb.

    Raises:
        BackendUnavailableError: it is not installed; names both ways on without a phone.
    """
    found = shutil.which(given or "adb")
    if found is None:
        what = f"there is no adb at {given}" if given else "adb is not installed or not on PATH"
        raise BackendUnavailableError(
            f"{what}. For a phone plugged in here: install Android's platform-tools. {WAYS_ON}"
        )
    return found


def list_devices(executable: str) -> dict[str, str]:
    """Serials of the phones that adb sees, with their state (``device`` when ready).

    Raises:
        BackendUnavailableError: adb cannot be run or says it failed.
    """
    result = run_adb(executable, ["devices"], QUERY_SECONDS)
    if result.returncode:
        raise BackendUnavailableError(f"adb devices failed: {_last_line(result)}. {WAYS_ON}")
    devices = {}
    for line in result.stdout.replace("\r", "").splitlines():
        if line.startswith(("*", "List of devices")):
            continue
        serial, _, state = line.strip().partition("\t" if "\t" in line else " ")
        if serial and state.strip():
            devices[serial] = state.strip()
    return devices


def choose_device(executable: str, serial: str | None) -> AdbDevice:
    """The phone to use.

    Args:
        executable: path of adb.
        serial: its serial; None takes ANDROID_SERIAL, as adb does, or the only phone.

    Raises:
        BackendUnavailableError: no phone is attached, it is not authorised, or several are attached
            and none was chosen.
    """
    wanted = serial or os.environ.get("ANDROID_SERIAL")
    devices = list_devices(executable)
    listed = ", ".join(f"{name} ({state})" for name, state in devices.items())
    if not devices:
        raise BackendUnavailableError(
            "no phone is attached (adb devices lists none). Plug one in and turn USB debugging "
            f"on. {WAYS_ON}"
        )
    if wanted is not None:
        if wanted not in devices:
            raise BackendUnavailableError(
                f"no phone with serial '{wanted[:80]}' is attached.{did_you_mean(wanted, devices)} "
                f"Attached: {listed}."
            )
        chosen = wanted
    elif len(devices) == 1:
        chosen = next(iter(devices))
    else:
        ready = [name for name, state in devices.items() if state == "device"]
        example = ready[0] if ready else next(iter(devices))
        raise BackendUnavailableError(
            f"{len(devices)} phones are attached: {listed}. Choose one: --serial {example}"
        )
    state = devices[chosen]
    if state != "device":
        advice = _ADVICE.get(state, "See: adb devices -l")
        raise BackendUnavailableError(f"the phone {chosen} is not ready: {state}. {advice}")
    return AdbDevice(chosen, executable)


def parse_state(text: str) -> PhoneState:
    """Reads what `STATE_COMMANDS` print. A value that is absent or not a number is None."""
    tenths = _field(text, r"temperature: (-?\d{1,4})$")
    return PhoneState(
        battery_c=None if tenths is None else tenths / 10,
        battery_percent=_field(text, r"level: (\d{1,3})$"),
        thermal_status=_field(text, r"Thermal Status: (\d)$"),
    )


def _field(text: str, pattern: str) -> int | None:
    for line in text.replace("\r", "").splitlines():
        match = re.search(pattern, line.strip())
        if match:
            return int(match[1])
    return None


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    text = result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}"
    return text.splitlines()[-1].strip()[:200]
