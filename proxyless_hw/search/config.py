"""Every setting of a search, with presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Final, Literal

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.runs.settings import Autocast, RunSettings, setting

Algorithm = Literal["gradient", "reinforce", "darts"]
Objective = Literal["constraint", "mul-log", "add-linear", "none"]
GradientMode = Literal["full", "two-path"]
Reward = Literal["constraint", "mnas", "absolute"]
PredictorKind = Literal["lookup", "regression", "auto"]
LimitPrecision = Literal["table", "fp32", "fp16", "int8"]

__all__ = ["PRESETS", "Autocast", "SearchConfig", "config_from", "read_config", "with_output"]

SHORT: Final[Mapping[str, object]] = {}
PUBLISHED: Final[Mapping[str, object]] = {
    "batch_size": 256,
    "warmup_epochs": 40,
    "epochs": 120,
    "first_alpha_epoch": 1,
    "warmup_lr": 0.05,
    "lr": 0.025,
    "momentum": 0.9,
    "weight_decay": 4e-5,
    "label_smoothing": 0.1,
    "clip_norm": None,
    "aligned_start": False,
    "alpha_lr": 1e-3,
    "alpha_every": 5,
    "gradient_mode": "full",
    "objective": "mul-log",
    "reinforce_samples": 10,
    "holdout": 50_000 / 1_281_167,
    "ramp": 0.0,
    "finalists": 1,
}
PRESETS: Final[Mapping[str, Mapping[str, object]]] = {"short": SHORT, "published": PUBLISHED}
"""Named settings. `published`: the paper's ImageNet schedule (Cai et al. 2019, section 4.2)."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig(RunSettings):
    """Settings of one search. The defaults are the short preset; `published` is the paper's.

    Each field's help says what it is (`SearchConfig.declarations()`); those of all runs stand in
    `RunSettings`. Values are checked when it is made: `SearchError`.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.SearchConfig(table="pixel1", epochs=10).epochs
        10
    """

    error: ClassVar[type[ProxylessHwError]] = SearchError
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PRESETS

    table: str = setting(
        "tables/pixel1.csv", "Latency table: a path or a shipped name.", metavar="CSV"
    )
    space: str = setting("imagenet", "Search space: shipped name or YAML file.", metavar="SPACE")
    target_ms: float | None = setting(
        None, "Latency target; the geometric mean of what is reachable by default.", above=0
    )
    target: float | None = setting(
        None, "The target in the table's unit, as mJ for a table of energy.", above=0
    )
    constraints: tuple[str, ...] = setting(
        (),
        "A further limit: another table (pixel1=80), macs=320M, parameters=4M, flash=1MB (weights) "
        "or memory=320KiB (peak of the activations).",
        option=False,
    )
    constraint_precision: LimitPrecision = setting(
        "table", "Number format in which limits of flash and memory count; the table's by default."
    )
    predictor: PredictorKind = setting(
        "lookup", "How the table prices ops: exactly, exactly where it can, or by regression alone."
    )
    resolution: int | None = setting(
        None, "Deployment; the table's own by default.", least=1, most=8192
    )
    num_classes: int | None = setting(
        None, "Deployment; the table's own by default.", least=1, most=65536
    )
    holdout: float = setting(0.3, "Share of the training set that moves alpha.", above=0, below=1)
    algorithm: Algorithm = setting("gradient", "How alpha is moved.")
    gradient_mode: GradientMode = setting(
        "full", "Gates whose gradient is taken: all of a slot, or the sampled pair."
    )
    objective: Objective = setting("constraint", "How the cost enters the loss.")
    reward: Reward = setting("constraint", "REINFORCE's reward; constraint follows the objective.")
    warmup_epochs: int = setting(10, "Epochs of uniform sampling, weights only.", least=0)
    epochs: int = setting(25, "Epochs after warm-up.", above=0)
    first_alpha_epoch: int = setting(
        0, "Epoch after warm-up at which alpha starts to move.", least=0, option=False
    )
    warmup_lr: float = setting(0.1, "Peak weight learning rate in warm-up.", above=0)
    lr: float = setting(0.05, "Peak weight learning rate after warm-up.", above=0)
    momentum: float = setting(
        0.9, "Of the weight step (SGD, Nesterov).", least=0, below=1, option=False
    )
    weight_decay: float = setting(4e-5, "Not for BatchNorm and biases.", least=0, option=False)
    label_smoothing: float = setting(0.1, "Of the weight step.", least=0, below=1, option=False)
    clip_norm: float | None = setting(
        1.0,
        "Bound on the norm of a weight step's gradient; none leaves it alone.",
        above=0,
        option=False,
    )
    weights: str | None = setting(
        None,
        "Start from this network's weights: a run folder, a file or timm:NAME; every candidate "
        "takes the block's first channels and the middle of its kernel.",
        metavar="FILE|RUN|timm:NAME",
    )
    aligned_start: bool = setting(
        True, "Let the candidates of a slot begin as nearly the same map.", option=False
    )
    alpha_lr: float | None = setting(
        None, "Adam's learning rate for alpha; scaled to the number of updates by default.", above=0
    )
    alpha_every: int = setting(1, "Weight steps per alpha update.", above=0)
    reinforce_samples: int = setting(10, "Networks per REINFORCE update.", above=0, option=False)
    rho: float = setting(8.0, "Weight of the constraint's quadratic penalty.", above=0)
    eta: float | None = setting(
        None, "Step of the constraint's multiplier; scaled to the updates by default.", least=0
    )
    multiplier_limit: float = setting(
        50.0, "Bound on the multiplier's size.", above=0, option=False
    )
    ramp: float = setting(
        0.5,
        "Share of the updates over which the target moves from the first expectation to T.",
        least=0,
        most=1,
        option=False,
    )
    mul_log_a: float = setting(
        0.2, "a of the published CE a (log E / log T)^b.", least=-100, most=100, option=False
    )
    mul_log_b: float = setting(0.3, "b of the same.", least=-100, most=100, option=False)
    add_linear_c: float = setting(0.1, "c of the published CE + c (E - T) / T.", option=False)
    mnas_w: float = setting(
        0.1, "w of REINFORCE's acc (T / lat)^w.", least=-100, most=100, option=False
    )
    absolute_beta: float = setting(
        -0.5, "beta of REINFORCE's acc + beta |lat / T - 1|.", below=0, option=False
    )
    finalists: int = setting(8, "Derived networks that are ranked by supernet validation.", above=0)
    verify: bool = setting(
        False,
        "Measure the found network on the table's device; exit 1 when it misses the target.",
        free=True,
    )
    verify_budget: float = setting(
        150.0,
        "Time for --verify in all, a calibration included: 150 by default.",
        above=0,
        metavar="SECONDS",
        free=True,
    )
    force: bool = setting(False, "Search with a table that is too poor all the same.", free=True)
    tensorboard: bool = setting(False, "Also write TensorBoard events.", free=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is not None and self.target_ms is not None:
            raise SearchError(
                f"--target and --target-ms are one setting: received {self.target:g} and "
                f"{self.target_ms:g}. Leave one of the two out."
            )
        if self.reward != "constraint" and self.algorithm != "reinforce":
            raise SearchError(
                f"--reward {self.reward} is a form of REINFORCE's reward: received --algorithm "
                f"{self.algorithm}. Add --algorithm reinforce."
            )
        if self.algorithm == "reinforce" and self.objective in ("mul-log", "add-linear"):
            raise SearchError(
                f"REINFORCE has no '{self.objective}' loss. Use --objective constraint, or "
                "--reward mnas or --reward absolute."
            )

    def with_epochs(self, warmup_epochs: int, epochs: int) -> SearchConfig:
        """The same settings with another length."""
        return replace(self, warmup_epochs=warmup_epochs, epochs=epochs)


config_from = SearchConfig.of
read_config = SearchConfig.read


def with_output(config: SearchConfig, folder: Path) -> SearchConfig:
    """The same configuration with its run folder set."""
    return replace(config, output=str(folder))
