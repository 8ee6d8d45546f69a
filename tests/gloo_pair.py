"""Two gloo processes with torchrun's environment, of one interpreter: the second is forked.

What torchrun itself does is checked by the slow tests; its launcher and a second start of torch
take as long as everything else in a test of what two processes do together.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

_FORK = """
import os, sys
child = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if child else "1"
"""
_JOIN = """
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def run_pair(imports: str, body: str, *arguments: object) -> None:
    """Runs a script in two processes; both must end with 0.

    Args:
        imports: what is done once, before there are two processes; no tensors yet.
        body: what each process does; ``RANK`` is in its environment.
        arguments: for `sys.argv`.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", imports + _FORK + body + _JOIN, *map(str, arguments)],
        env=environment, cwd=Path.cwd(), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
