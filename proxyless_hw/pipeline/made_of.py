"""What each stage of `specialize` is made of. A change in it makes the stage run again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.facts import first_hash
from proxyless_hw.data.folder import FolderSplit
from proxyless_hw.errors import SearchError
from proxyless_hw.formats.weights_source import is_timm
from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.pipeline.stage_record import CONTENT, MadeOf
from proxyless_hw.predictors.calibration import calibration_path, table_fingerprint
from proxyless_hw.profilers.registry import runtimes
from proxyless_hw.runs.run_network import weights_file
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

HASH_DIGITS: Final = 12


def made_of(
    config: SpecializeConfig,
    space: SearchSpace,
    table: LatencyTable | None,
    data: DataSplits,
    resolution: int,
) -> dict[str, MadeOf]:
    """What each stage is made of, beside what the stages before it leave.

    Args:
        config: the settings.
        space: the search space.
        table: the given table; None: the device is profiled.
        data: the data.
        resolution: of files and training, in pixels.
    """
    if table is None:
        device = config.device or "cpu"
        is_default = config.runtime in runtimes(device)[:1]
        measured: MadeOf = {"device": device, "runtime": None if is_default else config.runtime}
        content = None
    else:  # it says device and runtime itself
        measured, content = {}, _content(table, config.table is not None)
    return {
        "profile": {
            "space": config.space,
            CONTENT + "space": _hash(repr(space)),
            "table": None if table is None else table.name,
            CONTENT + "table": content,
            **measured,
            "resolution": resolution,
            "classes": data.num_classes,
        },
        "calibrate": {},
        "search": {
            "data": config.data,
            **_images(config, data),
            "target_ms": config.target_ms,
            "holdout": config.holdout,
            "batch_size": config.batch_size,
            "seed": config.seed,
            "weights": config.weights,
            CONTENT + "weights": _weights(config.weights),
        },
        "train": {"from_scratch": config.from_scratch},
        "export": {},
        "verify": {},
    }


def _content(table: LatencyTable, is_named: bool) -> str:
    """Rows of a table, and the calibration beside the file that the settings name."""
    sidecar = calibration_path(table.name)
    has_one = is_named and Path(table.name).is_file() and sidecar.is_file()
    calibration = sidecar.read_bytes() if has_one else b""
    return _hash(table_fingerprint(table) + hashlib.sha256(calibration).hexdigest())


def _weights(source: str | None) -> str | None:
    """A hash of the file that the search starts from; None without one, and for timm's weights.

    Raises:
        SearchError: there is no such file, or the folder is no run with weights.
    """
    if source is None or is_timm(source):
        return None
    path = Path(source)
    file = weights_file(path, SearchError) if path.is_dir() else path
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:HASH_DIGITS]
    except OSError as cause:
        raise SearchError(
            f"--weights is a run folder, a file or timm:NAME: cannot read {file} "
            f"({cause.strerror or cause})."
        ) from cause


def _images(config: SpecializeConfig, data: DataSplits) -> MadeOf:
    """Which images there are, wherever they lie.

    A folder is known by the number of its images and a hash of their names and sizes, another data
    set by the sizes of its parts and a hash of their first images.
    """
    splits = (data.train, data.holdout, data.test)
    if not all(isinstance(split, FolderSplit) for split in splits):
        first = [(len(split), first_hash(split)) for split in splits]
        spelled = f"{config.data_root or config.data}, limit {config.limit}"
        return {"images": spelled, CONTENT + "images": _hash(repr(first))}
    samples = [
        (path, label)
        for split in splits
        if isinstance(split, FolderSplit)
        for path, label in split.samples
    ]
    top = os.path.commonpath([path for path, _ in samples])
    lines = sorted(
        f"{path.relative_to(top)} {label} {path.stat().st_size if path.exists() else 0}"
        for path, label in samples
    )
    return {"images": f"{len(samples)} images ({_hash(os.linesep.join(lines))})"}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
