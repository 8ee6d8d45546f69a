"""``python -m proxyless_hw.profilers.fresh_process``: JSON request on stdin, JSON reply on stdout.

The other end is `proxyless_hw.profilers.networks.measure_in_fresh_process`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.profilers.networks import measure_files, measure_networks
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring
from proxyless_hw.space.architecture import Architecture


def answer(request: dict[str, Any]) -> list[Measurement]:
    """Measures what a request asks for.

    Raises:
        ProxylessHwError: as `measure_files` and `measure_networks`.
    """
    how = Measuring.from_dict(request["how"])
    measured: list[Measurement] = []
    if request["paths"]:
        measured += measure_files(request["paths"], how)
    if request["archs"]:
        archs = [Architecture.from_json(text) for text in request["archs"]]
        measured += measure_networks(archs, how)
    return measured


def main() -> None:
    """Reads the request, measures, writes one line."""
    try:
        measured = answer(json.load(sys.stdin))
    except ProxylessHwError as error:
        json.dump({"error": str(error), "kind": type(error).__name__}, sys.stdout)
        sys.exit(error.exit_code)
    json.dump({"measured": [item.to_json() for item in measured]}, sys.stdout, allow_nan=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
