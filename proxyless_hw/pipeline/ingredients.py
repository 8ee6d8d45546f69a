"""What `specialize` works with, known before its first stage: data, space, table and device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.data.facts import first_hash
from proxyless_hw.data.folder import FolderSplit
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import BackendUnavailableError, PredictorError, ProfilingError, SearchError
from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.pipeline.stage_record import CONTENT, MadeOf
from proxyless_hw.predictors.calibration import calibration_path, table_fingerprint
from proxyless_hw.predictors.measured import settings_of
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.registry import runtimes
from proxyless_hw.search.measurable import check_device_is_here
from proxyless_hw.search.prepare import deployment_resolution
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

BATCHES_AN_EPOCH: Final = 10
"""Small data sets get smaller batches, so that an epoch has so many steps."""
LEAST_BATCH: Final = 8
MOST_BATCH: Final = 64
HASH_DIGITS: Final = 12


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What the stages are given.

    Attributes:
        table: the given table; None: the device is profiled.
        missing: ops of the space that it lacks.
        device: device kind.
        settings: how ops are run on it.
        is_here: whether the device can be measured from here.
        why_not_here: why not, for people; empty where it can.
        resolution: of files and training, in pixels.
        num_classes: of the data.
        images: training images, the held-out ones included.
        batch_size: images per step.
        made_of: stage to what it is made of, for stages.json.
    """

    table: LatencyTable | None
    missing: tuple[OpSpec, ...]
    device: str
    settings: ProfilerSettings
    is_here: bool
    why_not_here: str
    resolution: int
    num_classes: int
    images: int
    batch_size: int
    made_of: Mapping[str, MadeOf]


def gather(config: SpecializeConfig, given: LatencyTable | None = None) -> Ingredients:
    """Reads data, space and table, and finds out what can be measured.

    Args:
        config: the settings.
        given: a table as an object, in place of the one that the settings name.

    Raises:
        SearchError: the table is of another device or runtime than asked for, or holds several
            resolutions and none was asked for.
        DataError, SpaceError, TableError: one of them cannot be read.
    """
    space = SearchSpace.load(config.space)
    table = given
    if given is None and config.table is not None:
        table = LatencyTable.load(config.table)
    resolution = _resolution(config, space, table)
    data = load_data(
        DataConfig(
            name=config.data,
            root=config.data_root,
            limit=config.limit,
            resolution=resolution,
            holdout=config.holdout,
            seed=config.seed,
            max_broken=config.max_broken,
        )
    )
    images = len(data.train) + len(data.holdout)
    missing: tuple[OpSpec, ...] = ()
    device, settings = config.device or "cpu", ProfilerSettings(runtime=config.runtime)
    why_not_here = ""
    if table is not None:
        table.require_metric("latency")
        missing = tuple(table.missing(space.ops(resolution, data.num_classes)))
        device, settings = settings_of(table)
        _require_asked(config, table)
        why_not_here = _why_not_here(table)
    return Ingredients(
        table=table,
        missing=missing,
        device=device,
        settings=settings,
        is_here=not why_not_here,
        why_not_here=why_not_here,
        resolution=resolution,
        num_classes=data.num_classes,
        images=images,
        batch_size=config.batch_size or _batch_size(len(data.train)),
        made_of=_made_of(config, space, table, data, resolution),
    )


def _resolution(config: SpecializeConfig, space: SearchSpace, table: LatencyTable | None) -> int:
    """As asked; else the table's; else the space's for photographs, the data's for small images."""
    if config.resolution is not None:
        return config.resolution
    if table is not None:
        return deployment_resolution(table, space, None)
    return space.resolution if config.data == "folder" else DataConfig().train_resolution


def _batch_size(images: int) -> int:
    """A power of two that gives an epoch some steps."""
    size = MOST_BATCH
    while size > LEAST_BATCH and size * BATCHES_AN_EPOCH > images:
        size //= 2
    return size


def _require_asked(config: SpecializeConfig, table: LatencyTable) -> None:
    """Refuses a device or runtime that contradicts the table.

    Raises:
        SearchError: it does; both are named.
    """
    header = table.metadata
    for option, asked, own in (
        ("--device", config.device, header.get("device_kind", "")),
        ("--runtime", config.runtime, (header.get("runtime") or "").partition(" ")[0]),
    ):
        if asked is not None and asked != own:
            raise SearchError(
                f"a table says what it was measured on: '{table.name}' has "
                f"{option.removeprefix('--')} '{own}', received {option} {asked[:40]}. Leave "
                f"{option} out, or leave --table out to profile."
            )


def _why_not_here(table: LatencyTable) -> str:
    """Why the table's device cannot be measured from here; empty where it can."""
    try:
        check_device_is_here(table)
    except (SearchError, ProfilingError, PredictorError, BackendUnavailableError) as cause:
        header = table.metadata
        return (
            f"'{table.name}' is of '{header.get('device', 'an unknown device')}', which cannot be "
            f"measured from here: nothing is calibrated or verified. ({cause})"
        )
    return ""


def _made_of(
    config: SpecializeConfig,
    space: SearchSpace,
    table: LatencyTable | None,
    data: DataSplits,
    resolution: int,
) -> dict[str, MadeOf]:
    """What each stage is made of, beside what the stages before it leave."""
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
