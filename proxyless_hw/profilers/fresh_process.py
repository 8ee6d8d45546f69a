"""``python -m proxyless_hw.profilers.fresh_process``: JSON request on stdin, JSON reply on stdout.

The other end is `proxyless_hw.profilers.networks.measure_in_fresh_process`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from proxyless_hw.architecture import Architecture
from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.networks import Measured, measure_files, measure_networks
from proxyless_hw.profilers.timing import TimingConfig


def answer(request: dict[str, Any]) -> list[Measured]:
    """Measures what a request asks for.

    Raises:
        ProxylessHwError: as `measure_files` and `measure_networks`.
    """
    fields = dict(request["settings"])
    if fields["cpus"] is not None:
        fields["cpus"] = tuple(fields["cpus"])
    settings = ProfilerSettings(**fields)
    timing = TimingConfig(**request["timing"])
    device, sessions = request["device"], request["sessions"]
    measured: list[Measured] = []
    if request["paths"]:
        measured += measure_files(
            request["paths"], settings, device=device, timing=timing, sessions=sessions
        )
    if request["archs"]:
        archs = [Architecture.from_json(text) for text in request["archs"]]
        measured += measure_networks(
            archs, settings, device=device, timing=timing, sessions=sessions
        )
    return measured


def main() -> None:
    """Reads the request, measures, writes one line."""
    try:
        measured = answer(json.load(sys.stdin))
    except ProxylessHwError as error:
        json.dump({"error": str(error), "kind": type(error).__name__}, sys.stdout)
        sys.exit(error.exit_code)
    json.dump({"measured": [asdict(item) for item in measured]}, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
