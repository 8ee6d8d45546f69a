"""Every setting of a training: one frozen dataclass, with presets and a YAML form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from proxyless_hw.errors import TrainingError, did_you_mean
from proxyless_hw.storage.documents import parse_yaml, read_text
from proxyless_hw.storage.setting_bounds import unusable

Autocast = Literal["none", "bf16", "fp16"]
Start = Literal["identity", "independent"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one training. The defaults suit small images on a CPU.

    Attributes:
        arch: what to train: a zoo name, an architecture file, or a run folder.
        data, data_root, limit, train_resolution, workers, max_broken: see
            `proxyless_hw.data.base`.
        holdout: share of the training images kept for validation: they choose ``best.pt``. With
            none, the last epoch counts as the best.
        weights: published checkpoint, or run folder, to start from (fine-tuning).
        start: fresh weights: ``identity``, residual blocks as their shortcut and large kernels as
            a 3x3 one, as a search's candidates begin (`proxyless_hw.network.start`), or
            ``independent``, every op as drawn.
        epochs: passes over the training images.
        batch_size: images per step (per process).
        lr: peak learning rate (SGD, Nesterov): linear warm-up, then a cosine to zero.
        warmup_epochs: length of the warm-up.
        momentum, label_smoothing: as usual.
        weight_decay: of convolutions and linear layers; BatchNorm and biases have none.
        dropout: before the classifier.
        drop_path: rate of the last residual block; it rises linearly to that.
        mixup: alpha of mixup's Beta distribution (Zhang et al., ICLR 2018); 0: none.
        cutmix: alpha of CutMix's (Yun et al., ICCV 2019); 0: none. With both, each step draws one.
        cutout: side of a square blanked in each image (DeVries and Taylor, 2017); 0: none.
        augment: random crops and mirroring (for a folder: the published ImageNet augmentation).
        ema: decay of an exponential moving average of the weights, which is then what is
            evaluated and kept; 0: none.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        autocast: mixed precision.
        threads: torch threads; torch's default when None.
        seed: seeds weights, order, augmentation and dropout.
        checkpoint_minutes: also save within an epoch after so many minutes.
        output: run folder; ``runs/train-NAME`` when None.
        resume: go on from the folder's checkpoint.
    """

    arch: str
    data: str = "digits"
    data_root: str | None = None
    limit: int | None = None
    train_resolution: int | None = None
    workers: int = 0
    max_broken: int | float | None = None
    holdout: float = 0.0
    weights: str | None = None
    start: Start = "identity"
    epochs: int = 10
    batch_size: int = 64
    lr: float = 0.1
    warmup_epochs: float = 0.5
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    dropout: float = 0.0
    drop_path: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    cutout: int = 0
    augment: bool = True
    ema: float = 0.0
    device: str = "cpu"
    autocast: Autocast = "none"
    threads: int | None = None
    seed: int = 0
    checkpoint_minutes: float = 10.0
    output: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("epochs", "batch_size", "lr", "checkpoint_minutes"):
            _require(self, name, getattr(self, name) > 0, "must be positive")
        for name in ("workers", "warmup_epochs", "weight_decay", "mixup", "cutmix", "cutout"):
            _require(self, name, getattr(self, name) >= 0, "must not be negative")
        for name in ("holdout", "momentum", "label_smoothing", "dropout", "drop_path", "ema"):
            _require(self, name, 0 <= getattr(self, name) < 1, "must lie in [0, 1)")
        for name in ("limit", "train_resolution", "threads"):
            value = getattr(self, name)
            _require(self, name, value is None or value > 0, "must be positive")
        _require(self, "seed", self.seed >= 0, "must not be negative")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0 and self.epochs > 1:
            raise TrainingError(
                f"the warm-up ({self.warmup_epochs:g} epochs) must be shorter than the training "
                f"({self.epochs} epochs)."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for config.json."""
        return asdict(self)


# The published ImageNet training (Cai, Zhu, Han, ICLR 2019, and its repository).
IMAGENET: dict[str, Any] = {
    "data": "folder",
    "start": "independent",
    "epochs": 300,
    "batch_size": 256,
    "lr": 0.05,
    "warmup_epochs": 0.0,
    "weight_decay": 4e-5,
    "label_smoothing": 0.1,
}
# CIFAR-10: the paper gives 600 epochs and path dropping for the tree network; learning rate, decay,
# batch and cutout are the ones usual for that data set, as the repository publishes none.
CIFAR10: dict[str, Any] = {
    "data": "cifar10",
    "start": "independent",
    "epochs": 600,
    "batch_size": 64,
    "lr": 0.1,
    "warmup_epochs": 0.0,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "drop_path": 0.2,
    "cutout": 16,
}
PRESETS: dict[str, dict[str, Any]] = {"short": {}, "imagenet": IMAGENET, "cifar10": CIFAR10}


def config_from(
    settings: Mapping[str, Any], preset: str | None = None, source: str = "configuration"
) -> TrainConfig:
    """Builds a configuration from a preset and settings that override it.

    Raises:
        TrainingError: an unknown preset or setting, or a value out of its range.
    """
    if preset is not None and preset not in PRESETS:
        raise TrainingError(f"no preset '{preset[:60]}'.{did_you_mean(preset, PRESETS)}")
    values = dict(PRESETS[preset or "short"])
    known = {field.name for field in fields(TrainConfig)}
    for key, value in settings.items():
        if key not in known:
            raise TrainingError(
                f"{source} has an unknown setting '{str(key)[:60]}'.{did_you_mean(str(key), known)}"
            )
        values[key] = value
    if "arch" not in values:
        raise TrainingError(f"{source} must name the network to train: 'arch'.")
    return TrainConfig(**values)


def read_config(path: Path) -> dict[str, Any]:
    """Reads settings from a YAML file: a mapping of `TrainConfig`'s names.

    Raises:
        TrainingError: the file cannot be read, or is no mapping.
    """
    text = read_text(path, TrainingError, "configuration")
    document = parse_yaml(text, TrainingError, str(path))
    if not isinstance(document, dict):
        raise TrainingError(f"{path} must hold a mapping of settings.")
    return {str(key): value for key, value in document.items()}


def _require(config: TrainConfig, name: str, holds: bool, rule: str) -> None:
    if not holds:
        raise TrainingError(f"{name} {rule}: received {repr(getattr(config, name))[:200]}.")


def _check_types(config: TrainConfig) -> None:
    for name, hint in get_type_hints(TrainConfig).items():
        value = getattr(config, name)
        reason = unusable(name, value)
        _require(config, name, reason is None, reason or "")
        options = get_args(hint)
        if options and all(isinstance(option, str) for option in options):
            _require(config, name, value in options, f"must be one of {', '.join(options)}")
            continue
        accepted = tuple(option for option in (options or (hint,)) if isinstance(option, type))
        if value is None and type(None) in accepted:
            continue
        if float in accepted:
            number = type(value) in (int, float) and math.isfinite(value)
            _require(config, name, number, "must be a number")
        else:
            names = " or ".join(kind.__name__ for kind in accepted if kind is not type(None))
            _require(config, name, type(value) in accepted, f"must be of type {names}")
