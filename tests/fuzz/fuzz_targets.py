"""What is fuzzed: each target reads a file of one form and uses what came out of it.

A target may end in a `ProxylessHwError`; anything else that it raises is a finding. What was read
successfully is used as a command would: written, read back, priced, counted.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

Target = Callable[[Path], None]


def read_table(path: Path) -> None:
    """Our own CSV: read, summarised, written, read back."""
    from proxyless_hw.tables.csv_format import format_csv
    from proxyless_hw.tables.summary import summarise

    table = LatencyTable.load(path)
    summarise(table)
    _ = table.num_classes, table.resolutions, table.setting, [str(op) for op in table.entries]
    assert all(op.mid_c >= 1 for op in table.entries)
    path.write_text(format_csv(table), encoding="utf-8")
    again = LatencyTable.load(path)
    assert again.entries == table.entries
    json.dumps([entry.half_width for entry in table.entries.values()], allow_nan=False)


def read_space(path: Path) -> None:
    """A space's YAML: read, its ops listed, its first network written out and counted."""
    space = SearchSpace.load(path)
    _ = space.num_candidates, space.max_candidates, space.ops()
    use_architecture(Architecture.from_choices(space, [0] * len(space.slots)))


def read_architecture(path: Path) -> None:
    """Our JSON, a published net.config or timm's strings: one reader tells them apart."""
    use_architecture(load_architecture(path))


def use_architecture(arch: Architecture) -> None:
    """Counts a network and takes it through every form that can hold it."""
    from proxyless_hw.formats.net_config import from_net_config, to_net_config
    from proxyless_hw.formats.timm_strings import from_timm_strings, to_timm_text
    from proxyless_hw.space.counting import count_macs, count_parameters

    assert Architecture.from_json(arch.to_json()) == arch
    assert count_parameters(arch) >= 1
    assert count_macs(arch) >= 1
    _ = arch.depth, [str(op) for op in arch.ops()]
    for convert in (
        lambda: from_net_config(json.loads(json.dumps(to_net_config(arch)))),
        lambda: from_timm_strings(to_timm_text(arch)),
    ):
        with contextlib.suppress(
            ProxylessHwError
        ):  # that form cannot hold this network: it says so
            convert()


def read_benchmark_output(path: Path) -> None:
    """The output of benchmark_model, and of the loop around it on a phone."""
    from proxyless_hw.profilers.android import (
        adb_device,
        benchmark_model,
        delegate_log,
        delegates,
        phone_loop,
    )

    text = path.read_bytes().decode("utf-8", errors="replace")
    phone_loop.split_runs(text)
    adb_device.parse_state(text)
    evidence = delegate_log.read_evidence(text)
    for asked in ("xnnpack", "gpu", "nnapi", "npu", "external"):
        delegates.delegate_use(evidence, asked)
    assert len(benchmark_model.failure_reason(text)) <= 200
    run = benchmark_model.parse_output(text, "m")
    assert run.measured.min - 1 <= run.measured.avg <= run.measured.max + 1


def read_search_config(path: Path) -> None:
    """A search's settings."""
    from proxyless_hw.search.config import config_from, read_config

    json.dumps(config_from(read_config(path)).to_dict(), allow_nan=False)


def read_train_config(path: Path) -> None:
    """A training's settings."""
    from proxyless_hw.train.config import config_from, read_config

    json.dumps(config_from(read_config(path)).to_dict(), allow_nan=False)


def read_published_table(path: Path) -> None:
    """The published YAML of look-up tables, imported and written in our form."""
    import_and_read_back(path)


def read_plain_csv(path: Path) -> None:
    """A CSV of another tool, imported and written in our form."""
    import_and_read_back(path)


def import_and_read_back(path: Path) -> None:
    """Imports a table; what was imported is one of ours."""
    from proxyless_hw.tables.importers import import_file

    table = import_file(path)
    copy = path.with_suffix(".copy")
    table.save(copy)
    assert LatencyTable.load(copy).entries == table.entries


def read_bundle_manifest(path: Path) -> None:
    """A bundle's manifest, in a folder whose logs are missing."""
    from proxyless_hw.profilers.android.bundle_logs import _read_manifest

    folder = path.with_suffix(".bundle")
    folder.mkdir(exist_ok=True)
    path.replace(folder / "manifest.json")
    _read_manifest(folder)


TARGETS: Final[dict[str, tuple[Target, str]]] = {
    "table": (read_table, "t.csv"),
    "space": (read_space, "s.yaml"),
    "architecture": (read_architecture, "a.json"),
    "net_config": (read_architecture, "net.config"),
    "timm_strings": (read_architecture, "timm.txt"),
    "benchmark_model": (read_benchmark_output, "log.txt"),
    "search_config": (read_search_config, "search.yaml"),
    "train_config": (read_train_config, "train.yaml"),
    "published_table": (read_published_table, "published.yaml"),
    "plain_csv": (read_plain_csv, "plain.csv"),
    "bundle": (read_bundle_manifest, "bundle.json"),
}
"""Target and file name by form."""


def attempt(name: str, content: bytes, folder: Path) -> bool:
    """Gives a target a file; whether it was accepted. Findings are raised."""
    target, file = TARGETS[name]
    path = folder / file
    path.write_bytes(content)
    try:
        target(path)
    except ProxylessHwError as error:
        message = str(error)
    else:
        return True
    # A million bytes of a hostile file have no place in a message.
    assert len(message) < 20_000, f"{len(message)} characters of message"
    return False
