"""Does a search land on its target? Five targets over the feasible range, three seeds, no tuning.

Default settings throughout. For each search: the derived network's prediction relative to T, and
the expectation at the end relative to T. With --verify (a table of this machine) also the measured
latency: the searches come first, then the measurements, for which nothing else should run.
Finished searches in the folder are not run again, so the benchmark can be interrupted.

    proxyless-hw profile --device cpu --output runs/landing/cpu.csv
    proxyless-hw validate --table runs/landing/cpu.csv --calibrate
    python benchmarks/landing.py --table runs/landing/cpu.csv --until searches
    python benchmarks/landing.py --table runs/landing/cpu.csv --verify
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxyless_hw.search.config import config_from
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.prepare import prepare_problem

SHARES = (0.25, 0.40, 0.50, 0.60, 0.75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", default="tables/pixel1.csv")
    parser.add_argument("--folder", type=Path, default=Path("runs/landing"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="shorter than the default, and said so")
    parser.add_argument("--warmup-epochs", type=int)
    parser.add_argument("--threads", type=int, help="of each search")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--until", choices=["searches"], help="stop before the measurements")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings: dict[str, Any] = {"table": options.table, "resume": True}
    for name in ("epochs", "warmup_epochs", "threads"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    low, high = prepare_problem(config_from(settings)).constraints[0].costs.range
    configs = []
    for share in SHARES:
        for seed in range(options.seeds):
            output = str(options.folder / f"{share:.0%}-{seed}")
            changes = {"target_ms": low + share * (high - low), "seed": seed, "output": output}
            config = config_from({**settings, **changes})
            searched = run_search(config).to_json()
            print(f"{output}: {searched['seconds']:.0f} s", file=sys.stderr, flush=True)
            kept = Path(output) / "before_verify.json"
            if not kept.exists():
                kept.write_text(json.dumps(searched))
            configs.append((share, config))
    if options.until:
        return
    rows = []
    for share, config in configs:
        document = json.loads((Path(config.output or "") / "before_verify.json").read_text())
        target = document["target_ms"]
        row = {
            "share": share,
            "seed": config.seed,
            "target_ms": target,
            "predicted_over_target": document["predicted_ms"] / target,
            "expected_over_target": document["expected_ms"] / target,
            "accuracy": document["accuracy"],
            "seconds": document["seconds"],
        }
        if options.verify:
            verified = run_search(replace(config, verify=True)).to_json()
            row["corrected_over_target"] = verified["predicted_ms"] / target
            row["measured_over_target"] = verified["measured_ms"] / target
        rows.append(row)
        if not options.json:
            print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
    predicted = [row["predicted_over_target"] for row in rows]
    expected = [row["expected_over_target"] for row in rows]
    summary: dict[str, Any] = {
        "table": options.table,
        "settings": {key: value for key, value in settings.items() if key != "resume"},
        "searches": len(rows),
        "predicted_in_window": sum(0.99 <= value <= 1.0 + 1e-9 for value in predicted),
        "expectation_within_3_percent": sum(abs(value - 1) <= 0.03 for value in expected),
        "rows": rows,
    }
    measured = [row["measured_over_target"] for row in rows if "measured_over_target" in row]
    if measured:
        summary["measured_within_2_percent"] = sum(abs(value - 1) <= 0.02 for value in measured)
    if options.json:
        print(json.dumps(summary))
    else:
        print({key: value for key, value in summary.items() if key != "rows"})


if __name__ == "__main__":
    main()
