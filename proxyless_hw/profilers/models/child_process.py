"""What a child process answered: one JSON object on the last line of its output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, ProxylessHwError


def reply_of(
    stdout: str, stderr: str, code: int | None, what: str, failed: type[ProxylessHwError]
) -> Mapping[str, Any]:
    """The child's answer.

    Args:
        stdout, stderr: what it printed.
        code: its exit code.
        what: what it is called in messages (``the measuring process``).
        failed: what is raised where it answers with an error.

    Raises:
        BackendUnavailableError: it answered that a library or device is missing.
        ProxylessHwError: as `failed`: it answered with another error.
        ProfilingError: it did not answer.
    """
    lines = stdout.strip().splitlines()
    try:
        reply = json.loads(lines[-1]) if lines else None
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        tail = stderr.strip().splitlines()[-1:] or ["no output"]
        raise ProfilingError(f"{what} ended with code {code}: {tail[0][:300]}")
    if "error" in reply:
        unavailable = reply.get("kind") == "BackendUnavailableError"
        raise (BackendUnavailableError if unavailable else failed)(reply["error"])
    return reply
