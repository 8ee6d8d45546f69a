"""A table's header as the options that measured it: how to measure there again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from proxyless_hw.errors import ProfilingError

_OPTIONS = {
    "command": "command",
    "pattern": "pattern",
    "command_unit": "unit",
    "model_format": "model_format",
    "delegate_partial": "delegate_partial",
    "timeout": "timeout",
    "device": "device",
}
"""Header key of each option of --device command."""
_FLAGS = {"command", "pattern", "unit", "model_format"}
"""Options that have a flag of their own; the others are given by --option."""
_MAY_DIFFER = {"timeout"}


def recorded_options(header: Mapping[str, str]) -> dict[str, str]:
    """The options of --device command in a table's header; empty for another device."""
    if header.get("device_kind") != "command":
        return {}
    return {option: header[key] for key, option in _OPTIONS.items() if key in header}


def require_asked(header: Mapping[str, str], table: str) -> None:
    """Refuses to run the command of a header unless the user named it.

    A table may come from anywhere, and its header may name any program.

    Raises:
        ProfilingError: the table is one of --device command; the command is shown.
    """
    command = recorded_options(header).get("command")
    if command is not None:
        raise ProfilingError(
            f"'{table}' is measured with a command that its header holds, and no header runs a "
            f"program unasked: {command[:200]!r}. If it is yours: verify FILE --table {table} "
            "--device command"
        )


def require_recorded(given: Mapping[str, str], header: Mapping[str, str], table: str) -> None:
    """Checks that what is given of --device command is what a table's header holds.

    Args:
        given: the options that were given now, by name.
        header: the table's header.
        table: names the table in messages.

    Raises:
        ProfilingError: an option differs from the header's; both are named. A header that holds no
            command, as of an imported table, is no reason.
    """
    recorded = recorded_options(header)
    if "command" not in recorded:
        return
    for option, value in given.items():
        before = recorded.get(option)
        if option in _MAY_DIFFER or _same(option, before, value):
            continue
        flag = f"--{option.replace('_', '-')}" if option in _FLAGS else f"--option {option}"
        stated = "none" if before is None else f"'{before}'"
        raise ProfilingError(
            f"'{table}' was measured with {flag} {stated}, and '{value}' is given now. Leave "
            f"{flag} out: what measured the table is taken from its header. For another "
            "setting, profile another table."
        )


def _same(option: str, before: str | None, now: str) -> bool:
    if option != "command" or before is None:
        return before == now
    try:
        return shlex.split(before) == shlex.split(now)
    except ValueError:
        return False
