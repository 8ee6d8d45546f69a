"""Hardware latency profiling, latency prediction and ProxylessNAS search.

The public names; each is imported when it is first used, so importing the package loads no torch.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from proxyless_hw import threads as _threads  # settles how threads wait: before torch loads
from proxyless_hw._version import __version__

if TYPE_CHECKING:
    from proxyless_hw.space.architecture import Architecture
    from proxyless_hw.space.search_space import SearchSpace
    from proxyless_hw.tables.table import LatencyTable

_HOME = {
    "Architecture": "proxyless_hw.space.architecture",
    "DataSplits": "proxyless_hw.data.base",
    "Derived": "proxyless_hw.search.derive",
    "ExportedFile": "proxyless_hw.export.export",
    "ExpectedLatency": "proxyless_hw.predictors.expected",
    "LatencyTable": "proxyless_hw.tables.table",
    "BatchNormSpec": "proxyless_hw.space.specs",
    "LayerSpec": "proxyless_hw.space.specs",
    "Measurement": "proxyless_hw.profilers.protocol.measurement",
    "OpSpec": "proxyless_hw.space.specs",
    "ProfilerSession": "proxyless_hw.profilers.base",
    "ProfilerSettings": "proxyless_hw.profilers.base",
    "ProxylessHwError": "proxyless_hw.errors",
    "SearchConfig": "proxyless_hw.search.config",
    "SearchSpace": "proxyless_hw.space.search_space",
    "SuperNet": "proxyless_hw.search.supernet",
    "Task": "proxyless_hw.runs.task",
    "TrainConfig": "proxyless_hw.train.config",
    "Visit": "proxyless_hw.profilers.base",
    "benchmark": "proxyless_hw.predictors.benchmark",
    "benchmark_all": "proxyless_hw.predictors.benchmark_all",
    "build_network": "proxyless_hw.network.network",
    "calibrate": "proxyless_hw.predictors.calibrate",
    "choose_probes": "proxyless_hw.predictors.probes",
    "count_macs": "proxyless_hw.space.counting",
    "count_parameters": "proxyless_hw.space.counting",
    "derive": "proxyless_hw.search.derive",
    "derive_run": "proxyless_hw.search.finished",
    "evaluate": "proxyless_hw.pipeline.evaluate",
    "export": "proxyless_hw.pipeline.export",
    "export_run": "proxyless_hw.pipeline.run_export",
    "feasible_range": "proxyless_hw.predictors.feasible",
    "find_devices": "proxyless_hw.profilers.devices",
    "fit_predictor": "proxyless_hw.predictors.fit",
    "flash_bytes": "proxyless_hw.space.footprint",
    "import_table": "proxyless_hw.profilers.import_table",
    "import_weights": "proxyless_hw.train.imported",
    "load": "proxyless_hw.train.load",
    "load_architecture": "proxyless_hw.formats.load",
    "load_published_weights": "proxyless_hw.formats.published",
    "memory_bytes": "proxyless_hw.space.footprint",
    "missing_ops": "proxyless_hw.tables.check",
    "next_probe": "proxyless_hw.predictors.probes",
    "op_macs": "proxyless_hw.space.counting",
    "pareto": "proxyless_hw.search.finished",
    "predict": "proxyless_hw.predictors.forecast",
    "profile": "proxyless_hw.profilers.public",
    "register_op": "proxyless_hw.space.op_registry",
    "register_profiler": "proxyless_hw.profilers.own_profilers",
    "run_search": "proxyless_hw.search.driver",
    "run_training": "proxyless_hw.train.driver",
    "search_resolutions": "proxyless_hw.search.resolutions",
    "space_ranges": "proxyless_hw.predictors.space_ranges",
    "specialize": "proxyless_hw.pipeline.specialize",
    "summarise": "proxyless_hw.tables.summary",
    "to_net_config": "proxyless_hw.formats.net_config",
    "to_timm_text": "proxyless_hw.formats.timm_strings",
    "transfer": "proxyless_hw.predictors.transfer",
    "validate": "proxyless_hw.predictors.validate",
    "verify": "proxyless_hw.predictors.verify",
    "within_memory": "proxyless_hw.space.footprint",
    "write_report": "proxyless_hw.report.report",
    "zoo_names": "proxyless_hw.formats.zoo",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'proxyless_hw' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Importing the folder `export` does not hide the public function of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted(__all__)
