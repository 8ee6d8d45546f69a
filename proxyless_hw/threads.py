"""How threads wait for one another. Settled when the package is imported, before torch loads.

An OpenMP thread that has nothing to do spins for a while before it sleeps. On a machine whose
processors are taken by others it spins in the place of the thread it waits for. A spin count of
1000, which libgomp (the library that torch's Linux wheels bring) takes by itself once it has more
threads than processors, costs little where processors are free: `benchmarks/thread_spinning.py`
measures both cases. Intel's and LLVM's library are left alone: a shorter KMP_BLOCKTIME gained
nothing that was worth its price there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container, MutableMapping

SPIN_COUNT = "1000"
USER_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables that say how OpenMP's threads wait. Where one is set, it stays the only one."""

ORT_SPINNING = "session.intra_op.allow_spinning"
"""ONNX Runtime's session entry for its own pool: 1 (its default) or 0."""


def settle(environment: MutableMapping[str, str], loaded: Container[str]) -> str:
    """Sets how OpenMP's threads wait, unless the user did or torch has read the environment.

    Args:
        environment: the process's environment; child processes get it too.
        loaded: names of the modules that are loaded.

    Returns:
        What is in force: `VARIABLE=VALUE`, several with spaces between, or `runtime's default`.
    """
    if "torch" not in loaded and not any(name in environment for name in USER_SETTINGS):
        environment["GOMP_SPINCOUNT"] = SPIN_COUNT
    shown = [f"{name}={environment[name]}" for name in USER_SETTINGS if name in environment]
    return " ".join(shown) or "runtime's default"


WAITING = settle(os.environ, sys.modules)
"""How OpenMP's threads wait in this process; part of the setting of what torch is timed with."""
