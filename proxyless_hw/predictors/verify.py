"""``verify``: one file or network, measured beside a table's anchors and set against a target."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import PredictorError, ProfilingError
from proxyless_hw.export.metadata import read_metadata
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.measured import measure_for, measuring_for
from proxyless_hw.predictors.verdict import Verification, verification_of
from proxyless_hw.profilers.command.recorded import require_asked
from proxyless_hw.profilers.models.file_shapes import MODEL_SUFFIXES, read_model
from proxyless_hw.profilers.models.input_axes import batch_axis
from proxyless_hw.profilers.protocol.timing import Progress
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import LatencyTable

VERIFY_BUDGET_S: Final = 60.0
VERIFY_GOAL: Final = 0.006
"""Half-width at which a measurement may end before its budget: a fifth of the tolerance."""

SUFFIXES: Final = MODEL_SUFFIXES


def verify(
    file: str | Path,
    table: LatencyTable | str | Path,
    *,
    target_ms: float,
    budget_s: float = VERIFY_BUDGET_S,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Verification:
    """Measures a model file under a table's setting and compares it with a target.

    The anchors of the table are measured beside the file, so that the verdict holds for the speed
    that the machine had when the table was made.

    Args:
        file: an .onnx or .tflite file, or an architecture file, run folder or zoo name.
        table: a table measured on this machine, or its name or path.
        target_ms: the target in ms.
        budget_s: seconds for measuring; less is used when the interval is narrow enough.
        device: device kind; the table's own when None.
        progress: called after each round.

    Raises:
        PredictorError: the target is not positive, the table was made on another device or
            under another setting, or the file runs another batch.
        TableError: the table cannot be read.
        ProfilingError, BackendUnavailableError: measuring failed.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.verify("model.onnx", "tables/cpu.csv", target_ms=5.0)  # doctest: +SKIP
    """
    if not 0 < target_ms < float("inf"):
        raise PredictorError(f"a target is positive and finite, in ms: received {target_ms}.")
    loaded = table_of(table)
    loaded.require_metric("latency")
    if not isinstance(file, str | Path):
        raise ProfilingError(
            f"verify takes a file or a name: received {type(file).__name__}. Export a module "
            "first: ph.export(network, FOLDER)."
        )
    path = Path(file)
    if path.suffix.lower() in SUFFIXES and not path.is_file():
        raise ProfilingError(f"no model file {path}.")
    if device is None:
        require_asked(loaded.metadata, loaded.name)
    how = measuring_for(loaded, device=device, budget_s=budget_s, goal=VERIFY_GOAL)
    how = replace(how, progress=progress)
    if path.suffix.lower() in SUFFIXES:
        _require_batch(path, loaded, how.settings.batch_size)
        measured = measure_for(loaded, how, files=[path])[0]
        predicted = predicted_ms(path, loaded)
    else:
        arch = load_architecture(file)
        measured = measure_for(loaded, how, archs=[arch], names=[str(file)])[0]
        predicted = fit_predictor(loaded).predict_ms(arch)
    return verification_of(target_ms, predicted, measured)


def _require_batch(path: Path, table: LatencyTable, batch: int) -> None:
    """Refuses a file that cannot run with the table's batch.

    Raises:
        PredictorError: the file fixes another batch, or has none; both are named.
        ProfilingError: the file cannot be read.
    """
    axes = [(item, batch_axis(item)) for item in read_model(path).inputs]
    sizes = {item.sizes[axis] for item, axis in axes if axis is not None and item.sizes is not None}
    fixed = {size for size in sizes if isinstance(size, int)}
    # Inputs that fix several batches have none in common: nothing contradicts a batch of 1.
    contradicts = bool(fixed - {batch}) and not (batch == 1 and len(fixed) > 1)
    if contradicts or (not sizes and batch != 1):
        has = f"a batch of {', '.join(map(str, sorted(fixed)))}" if fixed else "no batch"
        raise PredictorError(
            f"'{table.name}' was measured with a batch of {batch}, and {path} has {has}: one says "
            "nothing of the other. Bring a file with the table's batch or an open one, or a table "
            "of the file's: proxyless-hw profile --batch-size N."
        )


def predicted_ms(path: Path, table: LatencyTable) -> float | None:
    """What a table says of a file that carries its architecture; None where it carries none.

    Raises:
        ArchitectureError: what the file carries is malformed.
        PredictorError: the table cannot price it.
    """
    document = read_metadata(path)
    if document is None or not isinstance(document.get("architecture"), dict):
        return None
    arch = Architecture.from_json(json.dumps(document["architecture"]))
    return fit_predictor(table).predict_ms(arch)
