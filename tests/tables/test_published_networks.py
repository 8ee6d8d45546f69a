"""The published Note10 networks, priced on the published tables."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_stated_latency_is_predicted_within_3_percent() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "published_networks.py"))
    priced_by = script["predictor"]()
    assert priced_by.table.resolutions == (160, 176, 192, 208, 224)
    folders = list(script["DATA"].glob("*ms"))
    assert len(folders) == 6
    for folder in folders:
        row = script["price"](priced_by, folder)
        assert abs(row.error) <= 0.03, folder
