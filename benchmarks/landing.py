"""Does a search land on its target? Five targets over the feasible range, three seeds, no tuning.

Default settings throughout. For each search: the derived network's prediction relative to T, and
the expectation at the end relative to T. With --verify (a table of this machine) also the measured
latency.
Finished searches in the folder are not run again, so the benchmark can be interrupted.
"""

from __future__ import annotations

import argparse
import json
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
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    settings: dict[str, Any] = {"table": options.table, "verify": options.verify, "resume": True}
    for name in ("epochs", "warmup_epochs"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    low, high = prepare_problem(config_from(settings)).constraints[0].costs.range
    rows = []
    for share in SHARES:
        target = low + share * (high - low)
        for seed in range(options.seeds):
            output = str(options.folder / f"{share:.0%}-{seed}")
            config = config_from({**settings, "target_ms": target, "seed": seed, "output": output})
            document = run_search(config).document
            row = {
                "share": share,
                "seed": seed,
                "target_ms": target,
                "predicted_over_target": document["predicted_ms"] / target,
                "expected_over_target": document["expected_ms"] / target,
                "accuracy": document["accuracy"],
                "seconds": document["seconds"],
            }
            if document["measured_ms"] is not None:
                row["measured_over_target"] = document["measured_ms"] / target
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
