"""Every setting of a training, with presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from proxyless_hw.errors import ProxylessHwError, TrainingError
from proxyless_hw.runs.settings import Autocast, RunSettings, setting

Start = Literal["identity", "independent"]

__all__ = ["PRESETS", "Autocast", "TrainConfig", "config_from", "read_config"]

# The published ImageNet training (Cai, Zhu, Han, ICLR 2019, and its repository).
IMAGENET: Final[Mapping[str, object]] = {
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
CIFAR10: Final[Mapping[str, object]] = {
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
PRESETS: Final[Mapping[str, Mapping[str, object]]] = {
    "short": {},
    "imagenet": IMAGENET,
    "cifar10": CIFAR10,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunSettings):
    """Settings of one training. The defaults suit small images on a CPU.

    `TrainConfig.declarations()` gives the help of each field. `RunSettings` has those of all runs.
    A value out of its range raises `TrainingError`.

    Example:
        >>> import proxyless_hw as ph
        >>> config = ph.TrainConfig(arch="proxyless-mobile", epochs=3)
        >>> config.epochs, config.lr, config.holdout
        (3, 0.1, 0.0)
    """

    error: ClassVar[type[ProxylessHwError]] = TrainingError
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PRESETS

    arch: str | None = setting(
        None,
        "What to train: a zoo name, an architecture file, or a run folder. From Python an "
        "Architecture may be given in its place.",
        option=False,
    )
    holdout: float = setting(
        0.0,
        "Share kept for validation, which chooses the best epoch; at 0 the last epoch counts.",
        least=0,
        below=1,
    )
    weights: str | None = setting(
        None,
        "Start from these weights (fine-tuning): a run folder, a file or timm:NAME.",
        metavar="FILE|RUN|timm:NAME",
    )
    start: Start = setting(
        "identity", "Fresh weights: nearly the identity (default), or every op as drawn."
    )
    epochs: int = setting(10, "Passes over the training images.", above=0)
    lr: float = setting(
        0.1, "Peak learning rate (SGD, Nesterov): linear warm-up, then a cosine to zero.", above=0
    )
    warmup_epochs: float = setting(0.5, "Epochs of linear warm-up.", least=0)
    momentum: float = setting(0.9, "Of SGD.", least=0, below=1, option=False)
    weight_decay: float = setting(1e-4, "Not for BatchNorm and biases.", least=0)
    label_smoothing: float = setting(0.1, "Of the loss.", least=0, below=1)
    dropout: float = setting(0.0, "Before the classifier.", least=0, below=1)
    drop_path: float = setting(
        0.0, "Rate of the last residual block; it rises linearly to that.", least=0, below=1
    )
    mixup: float = setting(
        0.0, "alpha of mixup's Beta distribution (Zhang et al., ICLR 2018); 0: none.", least=0
    )
    cutmix: float = setting(
        0.0,
        "alpha of CutMix's (Yun et al., ICCV 2019); 0: none. With both, each step draws one.",
        least=0,
    )
    cutout: int = setting(
        0, "Side of a square blanked in each image (DeVries and Taylor, 2017); 0: none.", least=0
    )
    augment: bool = setting(True, "Random crops and mirroring.")
    ema: float = setting(
        0.0,
        "Decay of a moving average of the weights, which is then evaluated and kept; 0: none.",
        least=0,
        below=1,
    )
    checkpoint_minutes: float = setting(
        10.0, "Also save within an epoch after this many minutes.", above=0, free=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs >= self.epochs and self.warmup_epochs > 0 and self.epochs > 1:
            raise TrainingError(
                f"the warm-up ({self.warmup_epochs:g} epochs) must be shorter than the training "
                f"({self.epochs} epochs)."
            )


config_from = TrainConfig.of
read_config = TrainConfig.read
