"""Is the stated latency of published networks what the published tables predict?

Once-for-All's authors published networks for the Samsung Note10, each with its latency and its
input resolution, and look-up tables of the phone at five resolutions. The tables are imported and
merged (of ops that several hold, the first row counts), and each network is priced at its own
resolution, 220 and 260 pixels included, where most ops have to be regressed. The interval is that
of `predict`: 90%, for the sum of the ops.

    python benchmarks/published_networks.py TABLES NETWORKS [--json]

TABLES holds the five files NNN_lookup_table.yaml, NETWORKS a folder per network, named after its
stated latency (as 8ms), with net.config. Both are as their authors publish them; neither is part of
this repository.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.fit import Predictor, fit_predictor
from proxyless_hw.predictors.forecast import forecast
from proxyless_hw.tables.importers import import_file
from proxyless_hw.tables.merge import merge

DEVICE = {"device": "Samsung Note10", "device_kind": "mobile"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published network.

    Attributes:
        resolution: its input height and width in pixels.
        stated_ms: what its authors state.
        predicted_ms: the sum of its ops.
        low_ms, high_ms: the 90% interval of the prediction.
        measured_share: share of its ops that the tables hold.
    """

    resolution: int
    stated_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float
    measured_share: float

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted_ms / self.stated_ms - 1

    @property
    def inside(self) -> bool:
        """Whether the interval holds the stated latency."""
        return self.low_ms <= self.stated_ms <= self.high_ms


def predictor(folder: Path) -> Predictor:
    """A predictor over the published tables of a folder."""
    tables = [import_file(path, header=DEVICE) for path in sorted(folder.glob("*.yaml"))]
    return fit_predictor(merge(tables, name="note10", prefer="first"))


def price(priced_by: Predictor, folder: Path) -> Row:
    """Prices the network of a folder, whose name states its latency."""
    match = re.fullmatch(r"(\d+)ms", folder.name)
    assert match is not None, folder
    found = forecast(priced_by, load_architecture(folder / "net.config"))
    assert found.interval is not None
    measured = sum(item.source == "measured" for item in found.ops)
    return Row(
        resolution=found.resolution,
        stated_ms=float(match[1]),
        predicted_ms=found.value,
        low_ms=found.interval[0],
        high_ms=found.interval[1],
        measured_share=measured / len(found.ops),
    )


def main() -> None:
    """Prints a line per network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path, help="folder of the published tables")
    parser.add_argument("networks", type=Path, help="folder of the published networks")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    priced_by = predictor(arguments.tables)
    folders = sorted(
        arguments.networks.glob("*ms"), key=lambda folder: int(folder.name.removesuffix("ms"))
    )
    rows = [price(priced_by, folder) for folder in folders]
    print("pixels  stated  predicted   error  90% interval       holds  ops measured")
    for row in rows:
        interval = f"{row.low_ms:.2f} to {row.high_ms:.2f} ms"
        print(
            f"{row.resolution:6d}  {row.stated_ms:3.0f} ms {row.predicted_ms:7.2f} ms "
            f"{row.error:+7.1%}  {interval:17s}  {'yes' if row.inside else 'no':5s} "
            f"{row.measured_share:13.0%}"
        )
    if arguments.json:
        lines = [{**asdict(row), "error": row.error, "inside": row.inside} for row in rows]
        print(json.dumps({"networks": lines}))


if __name__ == "__main__":
    main()
