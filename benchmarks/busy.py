"""Runs a command while other work comes and goes on the same processors.

usage: python benchmarks/busy.py [--seed N] [--hogs 2] [--on 0.8] [--off 1.2] [--cpus 1.5] -- ...

Each hog computes for an exponentially distributed time, then sleeps. With --cpus the command's
process group is stopped for a share of every tenth of a second, as under a container's limit.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time


def hog(seed: int, on_s: float, off_s: float) -> None:
    """Computes and sleeps in turn, for ever."""
    draw = random.Random(seed)
    while True:
        end = time.monotonic() + min(10 * on_s, draw.expovariate(1 / on_s))
        while time.monotonic() < end:
            sum(range(2000))
        time.sleep(min(10 * off_s, draw.expovariate(1 / off_s)))


def ration(command: subprocess.Popen[bytes], cpus: float) -> None:
    """Lets the command's process group run `cpus` of the processors' time."""
    rest = 0.1 * max(0.0, 1 - cpus / len(os.sched_getaffinity(0)))
    with contextlib.suppress(ProcessLookupError):
        while command.poll() is None:
            time.sleep(0.1 - rest)
            os.killpg(command.pid, signal.SIGSTOP)
            time.sleep(rest)
            os.killpg(command.pid, signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hogs", type=int, default=2)
    parser.add_argument("--on", type=float, default=0.8, help="mean seconds of work")
    parser.add_argument("--off", type=float, default=1.2, help="mean seconds of rest")
    parser.add_argument("--cpus", type=float, help="processors the command may use, such as 1.5")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    words = arguments.command[arguments.command[:1] == ["--"] :]
    if not words:
        parser.error("name a command")
    hogs = [
        multiprocessing.Process(
            target=hog,
            args=(arguments.seed * 100 + number, arguments.on, arguments.off),
            daemon=True,
        )
        for number in range(arguments.hogs)
    ]
    for one in hogs:
        one.start()
    try:
        child = subprocess.Popen(words, start_new_session=arguments.cpus is not None)
        if arguments.cpus is not None:
            threading.Thread(target=ration, args=(child, arguments.cpus), daemon=True).start()
        return child.wait()
    finally:
        for one in hogs:
            one.terminate()
            one.join()


if __name__ == "__main__":
    sys.exit(main())
