"""The commands that make a run again, from its settings."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields

from proxyless_hw.report.run_data import RunData
from proxyless_hw.runs.settings import RunSettings


def reproduce(run: RunData) -> str:
    """The commands that make this run again, one a line.

    Settings that differ from the defaults are given as options; those without an option go into
    a --config file, which the first command writes.
    """
    folder = str(run.path)
    if run.config.objects:
        call = "run_training" if run.kind == "train" else "run_search"
        given = ", ".join(f"{name}=..." for name in run.config.objects)
        return (
            f"# from Python, with the same objects\nproxyless_hw.{call}(settings, {given})\n"
            f"{shlex.join(['proxyless-hw', 'report', folder])}"
        )
    words, rest = _train(run) if run.kind == "train" else _search(run)
    text = []
    if rest:
        text.append(f"echo {shlex.quote(_yaml(rest))} > settings.yaml")
        words += ["--config", "settings.yaml"]
    text.append(shlex.join([*words, "--output", folder]))
    text.append(shlex.join(["proxyless-hw", "export", folder, "--all"]))
    text.append(shlex.join(["proxyless-hw", "report", folder]))
    return "\n".join(text)


def _search(run: RunData) -> tuple[list[str], dict[str, object]]:
    from proxyless_hw.search.config import SearchConfig

    changed = _changed(run.settings, SearchConfig, always="table")
    words = ["proxyless-hw", "search"]
    constraints = changed.pop("constraints", None)
    for entry in constraints if isinstance(constraints, list) else ():
        words += ["--constraint", str(entry)]
    if run.resolutions:
        # The settings are those of the resolution that won; what was asked for is all of them.
        changed.pop("resolution", None)
        largest = max(run.resolutions, key=lambda row: row.resolution)
        changed["train_resolution"] = largest.train_resolution
        for row in run.resolutions:
            words += ["--resolution", str(row.resolution)]
    return _options(words, changed, SearchConfig)


def _train(run: RunData) -> tuple[list[str], dict[str, object]]:
    from proxyless_hw.train.config import TrainConfig

    changed = _changed(run.settings, TrainConfig, always="arch")
    words = ["proxyless-hw", "train", str(changed.pop("arch", run.path))]
    return _options(words, changed, TrainConfig)


def _options(
    words: list[str], changed: Mapping[str, object], config: type[RunSettings]
) -> tuple[list[str], dict[str, object]]:
    """The words with an option for every known setting, and the settings that have none."""
    known = {name for name, said in config.declarations().items() if said.option}
    known.add("max_broken")  # its option also takes shares
    rest: dict[str, object] = {}
    for name, value in changed.items():
        # None, where it is not the default, has no form on the command line.
        if name in known and value is not None:
            words += _option(name, value)
        else:
            rest[name] = value
    return words, rest


def _yaml(settings: Mapping[str, object]) -> str:
    import yaml

    text: str = yaml.safe_dump(
        dict(settings), default_flow_style=True, sort_keys=False, width=math.inf
    )
    return text.strip()


def _option(name: str, value: object) -> list[str]:
    flag = name.replace("_", "-")
    if value is True:
        return [f"--{flag}"]
    return [f"--no-{flag}"] if value is False else [f"--{flag}", str(value)]


def _changed(settings: Mapping[str, object], config: type, always: str) -> dict[str, object]:
    """Settings that are not the defaults of a config class, in its order; `always` in any case."""
    changed = {}
    for item in fields(config):
        if item.name in ("output", "resume") or item.name not in settings:
            continue
        value = settings[item.name]
        default = None if item.default is MISSING else item.default
        default = list(default) if isinstance(default, tuple) else default
        if item.name == always or value != default:
            changed[item.name] = value
    return changed
