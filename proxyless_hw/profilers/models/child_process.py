"""Child processes of Python: a JSON request goes in, one JSON object comes out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, ProxylessHwError


def run_python(
    arguments: Sequence[str], request: object, timeout_s: float, too_late: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own until it ends.

    Args:
        arguments: of the interpreter, as ``-m MODULE``.
        request: what it reads from stdin, as JSON.
        timeout_s: seconds after which it is ended.
        too_late: the message when it took longer.

    Raises:
        ProfilingError: it took longer.
    """
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise ProfilingError(too_late) from cause


def reply_of(
    stdout: str, stderr: str, code: int | None, what: str, failed: type[ProxylessHwError]
) -> Mapping[str, Any]:
    """Reads the answer of a child process.

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
