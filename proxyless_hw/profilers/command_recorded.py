"""A table's header as the options that measured it: how to measure there again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings

_OPTIONS = {
    "command": "command",
    "pattern": "pattern",
    "command_unit": "unit",
    "model_format": "model_format",
    "timeout": "timeout",
    "device": "device",
}
"""Header key of each option of --device command."""
_FLAGS = {"command", "pattern", "unit", "model_format"}
"""Options that have a flag of their own; the others are given by --option."""
_MAY_DIFFER = {"timeout"}


def recorded_options(header: Mapping[str, str]) -> dict[str, str]:
    """The options of --device command that a table's header holds; none for another device."""
    if header.get("device_kind") != "command":
        return {}
    return {option: header[key] for key, option in _OPTIONS.items() if key in header}


def with_recorded_options(
    settings: ProfilerSettings, device: str, header: Mapping[str, str], table: str
) -> ProfilerSettings:
    """Settings completed by what a table's header says of how it was measured.

    Args:
        settings: what was given now.
        device: device kind that was given now; only ``command`` is completed.
        header: the table's header.
        table: names the table in messages.

    Raises:
        ProfilingError: an option that was given differs from the header's; both are named. Or the
            table was measured with a command that its header does not hold.
    """
    if device != "command":
        return settings
    recorded = recorded_options(header)
    if "command" not in recorded:
        return settings
    for option, value in settings.options.items():
        before = recorded.get(option)
        known = option in _OPTIONS.values() and option not in _MAY_DIFFER
        if known and not _same(option, before, value):
            flag = f"--{option.replace('_', '-')}" if option in _FLAGS else f"--option {option}"
            stated = "none" if before is None else f"'{before}'"
            raise ProfilingError(
                f"'{table}' was measured with {flag} {stated}, and '{value}' is given now. Leave "
                f"{flag} out: what measured the table is taken from its header. For another "
                "setting, profile another table."
            )
    return replace(settings, options={**recorded, **settings.options})


def _same(option: str, before: str | None, now: str) -> bool:
    if option != "command" or before is None:
        return before == now
    try:
        return shlex.split(before) == shlex.split(now)
    except ValueError:
        return False
