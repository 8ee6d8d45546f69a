"""Every setting of a search: one frozen dataclass, with presets and a YAML form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from proxyless_hw.errors import SearchError, did_you_mean
from proxyless_hw.storage.documents import parse_yaml, read_text
from proxyless_hw.storage.setting_bounds import unusable

Algorithm = Literal["gradient", "reinforce", "darts"]
Objective = Literal["constraint", "mul-log", "add-linear", "none"]
GradientMode = Literal["full", "two-path"]
Reward = Literal["constraint", "mnas", "absolute"]
Autocast = Literal["none", "bf16", "fp16"]
PredictorKind = Literal["lookup", "regression", "auto"]


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Settings of one search. The defaults are the short preset; `published` is the paper's.

    Attributes:
        table: latency table of the deployment device (path or shipped name).
        space: shipped space name or YAML path.
        target: target in the table's unit (ms, mJ); the geometric mean of the feasible range when
            neither it nor `target_ms` is given.
        target_ms: the same for a table of latencies.
        constraints: further constraints as ``name=value``: a table (``pixel1=80``), ``macs=320M``
            or ``parameters=4M``.
        predictor: how the table becomes latencies: ``lookup`` (exact), ``regression``, ``auto``.
        resolution: deployment resolution; the table's when None.
        num_classes: deployment classes; the table's when None.
        data: data set name (see `proxyless_hw.data.base`).
        data_root: its folder, where it needs one.
        limit: use at most so many training images.
        train_resolution: training resolution; the data set's default when None.
        batch_size: images per step (per process).
        holdout: share of the training set held out for alpha.
        workers: data-loading processes.
        max_broken: unreadable images that are passed over (`proxyless_hw.data.base`).
        algorithm: ``gradient``, ``reinforce`` or ``darts``.
        gradient_mode: ``full`` or ``two-path`` gate gradients (gradient only).
        objective: how latency enters: ``constraint``, ``mul-log``, ``add-linear``, ``none``.
        reward: REINFORCE's reward form; ``constraint`` follows the objective.
        warmup_epochs: epochs of uniform sampling, weights only.
        epochs: epochs after warm-up.
        first_alpha_epoch: epoch after warm-up at which alpha starts to move.
        warmup_lr: peak weight learning rate in warm-up (linear rise over its first fifth).
        lr: peak weight learning rate after it; both fall along a cosine.
        momentum, weight_decay, label_smoothing: of the weight step (SGD, Nesterov).
        clip_norm: bound on the norm of a weight step's gradient; None leaves it alone.
        aligned_start: let the candidates of a slot begin as nearly the same map (see `start`).
        alpha_lr: Adam's learning rate for alpha; None scales it to the number of updates.
        alpha_every: weight steps per alpha update.
        reinforce_samples: networks per REINFORCE update.
        rho: weight of the quadratic penalty of the constraint.
        eta: step of the multiplier; None scales it to the number of updates.
        multiplier_limit: bound on the multiplier's size.
        ramp: share of the updates over which the target moves from the first expectation to T.
        mul_log_a, mul_log_b: the published CE a (log E / log T)^b.
        add_linear_c: the published CE + c (E - T) / T.
        mnas_w: REINFORCE's acc (T / lat)^w.
        absolute_beta: REINFORCE's acc + beta |lat / T - 1|, below 0.
        finalists: networks derived and ranked by supernet validation.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        autocast: mixed precision of the supernet.
        threads: torch threads; torch's default when None.
        seed: seeds weights, alpha, paths, data order.
        output: run folder; ``runs/NAME`` when None.
        resume: go on from the folder's checkpoint.
        verify: measure finalists and the winner on the table's device.
        verify_budget: seconds for that in all; a calibration that has to be made first is in it.
        force: search with a table that is too poor all the same.
        tensorboard: also write TensorBoard event files.
    """

    table: str = "tables/pixel1.csv"
    space: str = "imagenet"
    target: float | None = None
    target_ms: float | None = None
    constraints: tuple[str, ...] = ()
    predictor: PredictorKind = "lookup"
    resolution: int | None = None
    num_classes: int | None = None
    data: str = "digits"
    data_root: str | None = None
    limit: int | None = None
    train_resolution: int | None = None
    batch_size: int = 64
    holdout: float = 0.3
    workers: int = 0
    max_broken: int | float | None = None
    algorithm: Algorithm = "gradient"
    gradient_mode: GradientMode = "full"
    objective: Objective = "constraint"
    reward: Reward = "constraint"
    warmup_epochs: int = 10
    epochs: int = 25
    first_alpha_epoch: int = 0
    warmup_lr: float = 0.1
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    clip_norm: float | None = 1.0
    aligned_start: bool = True
    alpha_lr: float | None = None
    alpha_every: int = 1
    reinforce_samples: int = 10
    rho: float = 8.0
    eta: float | None = None
    multiplier_limit: float = 50.0
    ramp: float = 0.5
    mul_log_a: float = 0.2
    mul_log_b: float = 0.3
    add_linear_c: float = 0.1
    mnas_w: float = 0.1
    absolute_beta: float = -0.5
    finalists: int = 8
    device: str = "cpu"
    autocast: Autocast = "none"
    threads: int | None = None
    seed: int = 0
    output: str | None = None
    resume: bool = False
    verify: bool = False
    verify_budget: float = 150.0
    force: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        _check_types(self)
        positive = ("batch_size", "epochs", "alpha_every", "reinforce_samples", "finalists")
        for name in (*positive, "lr", "warmup_lr", "rho", "multiplier_limit", "verify_budget"):
            _require(self, name, getattr(self, name) > 0, "must be positive")
        for name in ("warmup_epochs", "first_alpha_epoch", "weight_decay", "workers", "seed"):
            _require(self, name, getattr(self, name) >= 0, "must not be negative")
        for name in (
            "target",
            "target_ms",
            "alpha_lr",
            "clip_norm",
            "limit",
            "resolution",
            "num_classes",
            "threads",
        ):
            value = getattr(self, name)
            _require(self, name, value is None or value > 0, "must be positive")
        _require(self, "eta", self.eta is None or self.eta >= 0, "must not be negative")
        _require(self, "holdout", 0 < self.holdout < 1, "must lie strictly between 0 and 1")
        _require(self, "momentum", 0 <= self.momentum < 1, "must lie in [0, 1)")
        _require(self, "label_smoothing", 0 <= self.label_smoothing < 1, "must lie in [0, 1)")
        _require(self, "ramp", 0 <= self.ramp <= 1, "must lie in [0, 1]")
        for name in ("mul_log_a", "mul_log_b", "mnas_w"):
            _require(self, name, abs(getattr(self, name)) <= 100, "must lie in [-100, 100]")
        _require(self, "absolute_beta", self.absolute_beta < 0, "must be below 0")
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for config.json."""
        values = asdict(self)
        values["constraints"] = list(self.constraints)
        return values


SHORT: dict[str, Any] = {}
PUBLISHED: dict[str, Any] = {
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
PRESETS: dict[str, dict[str, Any]] = {"short": SHORT, "published": PUBLISHED}
"""Named settings. `published`: the paper's ImageNet schedule (Cai et al. 2019, section 4.2)."""


def config_from(
    settings: Mapping[str, Any], preset: str | None = None, source: str = "configuration"
) -> SearchConfig:
    """Builds a configuration from a preset and settings that override it.

    Raises:
        SearchError: an unknown preset or setting, or a value out of its range.
    """
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in PRESETS:
            raise SearchError(f"no preset '{preset}'.{did_you_mean(preset, PRESETS)}")
        values.update(PRESETS[preset])
    known = {field.name for field in fields(SearchConfig)}
    for key, value in settings.items():
        if key not in known:
            raise SearchError(
                f"{source} has an unknown setting '{str(key)[:60]}'.{did_you_mean(str(key), known)}"
            )
        values[key] = tuple(value) if isinstance(value, list) else value
    return SearchConfig(**values)


def read_config(path: Path) -> dict[str, Any]:
    """Reads settings from a YAML file: a mapping of `SearchConfig`'s names.

    Raises:
        SearchError: the file cannot be read, or is no mapping.
    """
    document = parse_yaml(read_text(path, SearchError, "configuration"), SearchError, str(path))
    if not isinstance(document, dict):
        raise SearchError(f"{path} must hold a mapping of settings.")
    return {str(key): value for key, value in document.items()}


def with_output(config: SearchConfig, folder: Path) -> SearchConfig:
    """The same configuration with its run folder set."""
    return replace(config, output=str(folder))


def _require(config: SearchConfig, name: str, holds: bool, rule: str) -> None:
    if not holds:
        raise SearchError(f"{name} {rule}: received {repr(getattr(config, name))[:200]}.")


def _check_types(config: SearchConfig) -> None:
    for name, hint in get_type_hints(SearchConfig).items():
        value = getattr(config, name)
        reason = unusable(name, value)
        _require(config, name, reason is None, reason or "")
        options = get_args(hint)
        if options and all(isinstance(option, str) for option in options):
            rule = f"must be one of {', '.join(options)}"
            _require(config, name, value in options, rule)
            continue
        accepted = tuple(option for option in (options or (hint,)) if isinstance(option, type))
        if name == "constraints":
            whole = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
            _require(config, name, whole, "must be a list of texts such as 'macs=320M'")
        elif float in accepted:
            number = type(value) in (int, float) and math.isfinite(value)
            _require(
                config,
                name,
                number or (value is None and type(None) in accepted),
                "must be a number",
            )
        else:
            names = " or ".join(kind.__name__ for kind in accepted if kind is not type(None))
            _require(config, name, type(value) in accepted, f"must be of type {names}")
