"""Every setting of `specialize`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import ClassVar, Final, TypedDict

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.runs.settings import Settings, setting
from proxyless_hw.units import parse_duration

LEAST_BUDGET_S: Final = 120.0
"""What the stages take at least on a small space."""


class DataFields(TypedDict):
    """The settings of the data that a search and a training have by the same names."""

    data: str
    data_root: str | None
    limit: int | None
    workers: int
    max_broken: int | float | None


@dataclass(frozen=True, kw_only=True)
class SpecializeConfig(Settings):
    """Settings of one `specialize`. Values are checked when it is made: `SearchError`.

    Those that are ``free`` do not change what is made, only how fast: a folder goes on with others.
    """

    error: ClassVar[type[ProxylessHwError]] = SearchError

    data: str = setting(
        "folder", "folder, digits, mnist, fashion-mnist, cifar10, ...", metavar="NAME"
    )
    data_root: str | None = setting(
        None, "Folder of the data set: a folder of images per class.", metavar="DIR"
    )
    limit: int | None = setting(None, "At most so many training images.", above=0)
    max_broken: int | float | None = setting(
        None, "Unreadable images of a folder that are passed over.", option=False, free=True
    )
    workers: int = setting(0, "Data-loading processes.", least=0, free=True)
    space: str = setting("imagenet", "Search space: shipped name or YAML file.", metavar="SPACE")
    table: str | None = setting(
        None,
        "Latency table, a path or a shipped name; the device is profiled by default.",
        metavar="CSV",
    )
    device: str | None = setting(
        None, "What is profiled: cpu (default), gpu, mobile, ...", metavar="DEVICE"
    )
    runtime: str | None = setting(
        None, "onnxruntime, litert, ...: the device's default by default.", metavar="RUNTIME"
    )
    target_ms: float | None = setting(
        None, "Latency target; the geometric mean of what is reachable by default.", above=0
    )
    resolution: int | None = setting(
        None,
        "Of the files and of the training; by default the table's or the space's, or that of a "
        "data set of small images.",
        least=8,
        most=1024,
    )
    holdout: float = setting(
        0.3, "Share of the training images that moves alpha in the search.", above=0, below=1
    )
    batch_size: int | None = setting(
        None, "Images per step; by the number of images by default.", above=0
    )
    budget: str = setting(
        "8m", "Time in all, as 90s, 15m or 2h: the stages share it.", metavar="TIME", free=True
    )
    weights: str | None = setting(
        None,
        "Start the search from this network's weights: a run folder, a file or timm:NAME.",
        metavar="FILE|RUN|timm:NAME",
    )
    from_scratch: bool = setting(False, "Train from fresh weights instead of the supernet's.")
    torch_device: str = setting(
        "auto", "Where torch computes: cpu, cuda, mps or auto.", metavar="DEVICE", free=True
    )
    seed: int = setting(0, "Seeds weights, paths, order and augmentation.", least=0)
    output: str = setting(
        MISSING,
        "Folder of everything that is made; the same command goes on after an interruption.",
        metavar="DIR",
        free=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            seconds = parse_duration(self.budget)
        except ValueError:
            seconds = 0.0
        if seconds < LEAST_BUDGET_S:
            raise SearchError(
                f"--budget is a time such as 15m or 2h, at least {LEAST_BUDGET_S:.0f} s: received "
                f"{self.budget[:40]!r}."
            )
        if self.data == "folder" and self.data_root is None:
            raise SearchError(
                "--data folder needs the folder of images: received no --data-root. Give "
                "--data-root FOLDER, with one folder per class in it."
            )

    @property
    def budget_s(self) -> float:
        """`budget` in seconds."""
        return parse_duration(self.budget)

    @property
    def folder(self) -> Path:
        """`output` as a path."""
        return Path(self.output)

    def data_settings(self) -> DataFields:
        """The settings of the data, to be passed on by name."""
        return {
            "data": self.data,
            "data_root": self.data_root,
            "limit": self.limit,
            "workers": self.workers,
            "max_broken": self.max_broken,
        }
