"""The commands that make a run again: complete, and understood by the commands themselves."""

from __future__ import annotations

import importlib
import json
import shlex
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import write_run

from proxyless_hw.report.reproduce import reproduce
from proxyless_hw.report.run_data import read_run
from proxyless_hw.runs.settings import RunSettings
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.train.config import TrainConfig


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "first")


def test_the_commands_say_what_differs_from_the_defaults(run: Path) -> None:
    lines = reproduce(read_run(run)).splitlines()
    assert lines[0].startswith("proxyless-hw search --table ")
    assert "--target-ms" in lines[0]
    assert "--seed" not in lines[0]
    assert "--epochs" not in lines[0]
    assert lines[1] == f"proxyless-hw export {run} --all"


CONFIGS = {"search": SearchConfig, "train": partial(TrainConfig, arch="proxyless-gpu")}
OTHERWISE: dict[str, Any] = {
    "space": "cifar-mbconv",
    "constraints": ("macs=300M", "pixel1=80"),
    "constraint_precision": "int8",
    "predictor": "auto",
    "algorithm": "reinforce",
    "gradient_mode": "two-path",
    "objective": "none",
    "reward": "mnas",
    "autocast": "bf16",
    "start": "independent",
    "absolute_beta": -0.25,
    "clip_norm": None,
    "weight_decay": 2e-5,
}
"""Values that are not the defaults, where changing type and size at random gives none."""


def otherwise(config: Any, left_out: str) -> Any:
    """The same configuration with no setting but one left as it is by default."""
    changes = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name in ("output", "resume", "arch", left_out):
            continue
        if item.name in OTHERWISE:
            changes[item.name] = OTHERWISE[item.name]
        elif isinstance(value, bool):
            changes[item.name] = not value
        elif isinstance(value, str):
            changes[item.name] = "else where"
        elif "int" in str(item.type):
            changes[item.name] = (value or 8) + 3
        elif "float" in str(item.type):
            changes[item.name] = (value or 0.25) * 0.5
        else:
            changes[item.name] = "else where"
    return replace(config, **changes)


class Aborted(Exception):
    """Ends a command where its run would begin."""


DRIVERS = {
    "search": ("proxyless_hw.search.driver", "run_search"),
    "train": ("proxyless_hw.train.driver", "run_training"),
}


@pytest.mark.parametrize(
    ("name", "left_out"), [("search", "target"), ("search", "target_ms"), ("train", "")]
)
def test_the_commands_give_back_every_setting_that_is_not_the_default(
    run: Path, name: str, left_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page says to type is parsed by the command itself, and gives the run's settings.

    `left_out`: target and target_ms are two forms of one setting.
    """
    asked = otherwise(CONFIGS[name](), left_out)
    document = {"kind": name, "settings": asked.to_dict()}
    (run / "config.json").write_text(json.dumps(document))
    write, command, *_ = reproduce(read_run(run)).splitlines()
    echo, text, _, file = shlex.split(write)
    assert (echo, file) == ("echo", "settings.yaml")
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(text)
    _, _, *words = shlex.split(command)
    module = importlib.import_module(f"proxyless_hw.commands.{name}")
    monkeypatch.setattr(module, "_check_device", lambda table: None, raising=False)
    received = []

    def ends(config: RunSettings, *others: object) -> None:
        received.append(config)
        raise Aborted

    driver, function = DRIVERS[name]
    monkeypatch.setattr(importlib.import_module(driver), function, ends)
    with pytest.raises(Aborted):
        module.command.main(words, standalone_mode=False)
    (found,) = received
    assert replace(found, output=None) == asked
    assert Path(found.output) == run


@pytest.mark.parametrize(("name", "config"), [("search", SearchConfig), ("train", TrainConfig)])
def test_every_setting_with_an_option_is_one_of_the_command(
    name: str, config: type[RunSettings]
) -> None:
    command = importlib.import_module(f"proxyless_hw.commands.{name}").command
    declared = config.declarations()
    given = {item.name for item in command.params} & set(declared)
    asked = {setting for setting, said in declared.items() if said.option}
    # Written in their own way: the argument, the repeated options, a number or a share.
    assert given - {"arch", "constraints", "max_broken"} == asked - {"resolution"}


def test_a_choice_among_resolutions_is_asked_for_again(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["settings"].update(resolution=128, train_resolution=16)
    (run / "config.json").write_text(json.dumps(config))
    rows = [
        {"resolution": 128, "train_resolution": 16},
        {"resolution": 224, "train_resolution": 28},
    ]
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "resolutions": rows}))
    command = reproduce(read_run(run)).splitlines()[0]
    assert "--resolution 128 --resolution 224" in command
    assert "--train-resolution 28" in command


def test_settings_without_an_option_go_into_a_file(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    config["settings"].update(ramp=0.25, verify=True, seed=3, constraints=["macs=300M"])
    (run / "config.json").write_text(json.dumps(config))
    write, search, *_ = reproduce(read_run(run)).splitlines()
    assert write == "echo '{ramp: 0.25}' > settings.yaml"
    assert "--config settings.yaml" in search
    assert "--verify" in search.split()
    assert "--seed 3" in search
    assert "--constraint macs=300M" in search
