"""``python -m proxyless_hw.profilers.models.convert_process``: converts models to be kept.

Reads a JSON list of jobs on stdin, writes each model to its cache entry, and ends with one line
of JSON on stdout: how many were converted, or the error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.profilers.models.converted_models import write_entry
from proxyless_hw.profilers.models.pte_cache import convert_pte
from proxyless_hw.profilers.models.tflite_cache import convert


def main() -> None:
    """Converts all jobs; ends early when the process that asked for them has died."""
    parent = os.getppid()
    jobs = json.load(sys.stdin)
    for job in jobs:
        if os.getppid() != parent:
            sys.exit(1)
        try:
            model = convert_pte(job) if job.get("form") == "pte" else convert(job)
            write_entry(Path(job["path"]), model)
        except ProxylessHwError as error:
            json.dump(
                {"error": f"{job['name']}: {error}", "kind": type(error).__name__}, sys.stdout
            )
            sys.exit(error.exit_code)
    json.dump({"converted": len(jobs)}, sys.stdout)


if __name__ == "__main__":
    main()
