"""What a search found, and the documents of its run folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.verdict import Verdict, verdict_from
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.units import in_unit


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        folder: the run folder.
        architecture: the derived network at its deployment shape.
        document: result.json: metric, unit, target, predicted, expected, measured (in
            milliseconds also as target_ms, ...), accuracy, ...
        verdict: whether the measurement agreed with the target; None when none was made.
    """

    folder: Path
    architecture: Architecture
    document: dict[str, Any]
    verdict: Verdict | None


def read_result(run: str | Path) -> SearchResult:
    """Reads a finished run.

    Raises:
        SearchError: the run is not finished, or a file is malformed.
    """
    folder = SearchFolder(Path(run))
    if not folder.result.exists():
        raise SearchError(
            f"{run} is no finished search. Finish it: proxyless-hw search --output {run} --resume"
        )
    document = folder.read_json(folder.result)
    arch = Architecture.load(folder.architecture)
    verify = document.get("verify")
    return SearchResult(folder.path, arch, document, verdict_from(verify) if verify else None)


def parse_architecture(arch: Architecture) -> dict[str, Any]:
    """The architecture's JSON form as a document, for embedding."""
    document: dict[str, Any] = json.loads(arch.to_json())
    return document


def provenance_of(
    figures: dict[str, Any], problem: Problem, config: SearchConfig
) -> dict[str, Any]:
    return {
        "table": problem.table.name,
        "metric": problem.table.metric,
        **figures,
        "algorithm": config.algorithm,
        "objective": config.objective,
        "seed": config.seed,
    }


def config_document(config: SearchConfig, problem: Problem, data: DataSplits) -> dict[str, Any]:
    """The run folder's config.json: settings, table, both shapes and constraints."""
    return {
        "settings": config.to_dict(),
        "table": config.table,
        "table_header": dict(problem.table.metadata),
        "space": problem.space.id,
        "data": config.data,
        "metric": problem.table.metric,
        **in_unit({"target": problem.target}, problem.unit),
        "resolution": problem.resolution,
        "num_classes": problem.num_classes,
        "training": {
            "resolution": data.resolution,
            "num_classes": data.num_classes,
            "class_names": list(data.class_names),
            "mean": [float(value) for value in data.mean],
            "std": [float(value) for value in data.std],
        },
        "constraints": [
            {
                "name": constraint.name,
                "unit": constraint.costs.unit,
                "target": constraint.target,
                "reachable": list(constraint.costs.range),
            }
            for constraint in problem.constraints
        ],
    }


def placeholder(problem: Problem) -> Architecture:
    """A network of the space that stands in the result of ranks other than the first."""
    return Architecture.from_choices(
        problem.space,
        [0] * len(problem.space.slots),
        resolution=problem.resolution,
        num_classes=problem.num_classes,
    )
