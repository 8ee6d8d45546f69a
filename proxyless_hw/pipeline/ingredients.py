"""What `specialize` works with, known before its first stage: data, space, table and device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import BackendUnavailableError, PredictorError, ProfilingError, SearchError
from proxyless_hw.pipeline.made_of import made_of
from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.pipeline.stage_record import MadeOf
from proxyless_hw.predictors.measured import settings_of
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.search.measurable import check_device_is_here
from proxyless_hw.search.prepare import deployment_resolution
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

BATCHES_AN_EPOCH: Final = 10
"""Small data sets get smaller batches, so that an epoch has so many steps."""
BATCH_SIZES: Final = (64, 32, 16, 8)
"""The largest that gives so many is taken; the last one where none does."""


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
        made_of=made_of(config, space, table, data, resolution),
    )


def _resolution(config: SpecializeConfig, space: SearchSpace, table: LatencyTable | None) -> int:
    """As asked; else the table's; else the space's for photographs, the data's for small images."""
    if config.resolution is not None:
        return config.resolution
    if table is not None:
        return deployment_resolution(table, space, None)
    return space.resolution if config.data == "folder" else DataConfig().train_resolution


def _batch_size(images: int) -> int:
    fitting = (size for size in BATCH_SIZES if size * BATCHES_AN_EPOCH <= images)
    return next(fitting, BATCH_SIZES[-1])


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
