"""The commands that make a run again, from its settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from proxyless_hw.report.run_data import RunData

SEARCH_OPTIONS: Final = frozenset(
    (
        *(
            "table",
            "space",
            "target",
            "target_ms",
            "predictor",
            "resolution",
            "num_classes",
            "data",
        ),
        *("data_root", "limit", "train_resolution", "batch_size", "holdout", "workers"),
        *("algorithm", "gradient_mode", "objective", "reward", "warmup_epochs", "epochs", "lr"),
        *("warmup_lr", "alpha_lr", "alpha_every", "rho", "eta", "finalists", "device"),
        *("autocast", "threads", "seed", "verify", "tensorboard"),
    )
)
"""Settings that `search` takes as options of the same name; others go into a --config file."""


TRAIN_OPTIONS: Final = frozenset(
    (
        *("data", "data_root", "limit", "train_resolution", "holdout", "workers", "weights"),
        *("epochs", "batch_size", "lr", "warmup_epochs", "weight_decay", "label_smoothing"),
        *("dropout", "drop_path", "mixup", "cutmix", "cutout", "augment", "ema", "device"),
        *("autocast", "threads", "seed", "checkpoint_minutes"),
    )
)
"""The same of `train`."""


def reproduce(run: RunData) -> str:
    """The commands that make this run again, one a line.

    Settings that differ from the defaults are given as options; those without an option stand
    in a comment, as the lines of a --config file.
    """
    folder = str(run.path)
    words, rest = _train(run) if run.kind == "train" else _search(run)
    text = []
    if rest:
        text.append("# settings.yaml: " + ", ".join(f"{k}: {v}" for k, v in rest.items()))
        words += ["--config", "settings.yaml"]
    text.append(shlex.join([*words, "--output", folder]))
    text.append(shlex.join(["proxyless-hw", "export", folder, "--all"]))
    text.append(shlex.join(["proxyless-hw", "report", folder]))
    return "\n".join(text)


def _search(run: RunData) -> tuple[list[str], dict[str, Any]]:
    from proxyless_hw.search.config import SearchConfig

    changed = _changed(run.settings, SearchConfig, always="table")
    words = ["proxyless-hw", "search"]
    for entry in changed.pop("constraints", []):
        words += ["--constraint", str(entry)]
    return _options(words, changed, SEARCH_OPTIONS)


def _train(run: RunData) -> tuple[list[str], dict[str, Any]]:
    from proxyless_hw.train.config import TrainConfig

    changed = _changed(run.settings, TrainConfig, always="arch")
    words = ["proxyless-hw", "train", str(changed.pop("arch", run.path))]
    return _options(words, changed, TRAIN_OPTIONS)


def _options(
    words: list[str], changed: Mapping[str, Any], known: frozenset[str]
) -> tuple[list[str], dict[str, Any]]:
    """The words with an option for every known setting, and the settings that have none."""
    rest: dict[str, Any] = {}
    for name, value in changed.items():
        if name in known:
            words += _option(name, value)
        else:
            rest[name] = value
    return words, rest


def _option(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if value is True:
        return [f"--{flag}"]
    return [f"--no-{flag}"] if value is False else [f"--{flag}", str(value)]


def _changed(settings: Mapping[str, Any], config: type, always: str) -> dict[str, Any]:
    """Settings that are not the defaults of a config class, in its order; `always` in any case."""
    changed = {}
    for item in fields(config):
        value = settings.get(item.name)
        if item.name in ("output", "resume") or value is None:
            continue
        default = None if item.default is MISSING else item.default
        default = list(default) if isinstance(default, tuple) else default
        if item.name == always or value != default:
            changed[item.name] = value
    return changed
