"""Search settings: presets, YAML, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyless_hw.errors import SearchError
from proxyless_hw.search.config import SearchConfig, config_from, read_config


def test_the_published_preset_has_the_papers_schedule() -> None:
    config = config_from({}, preset="published")
    assert (config.batch_size, config.warmup_epochs, config.epochs) == (256, 40, 120)
    assert (config.lr, config.warmup_lr, config.weight_decay) == (0.025, 0.05, 4e-5)
    assert (config.alpha_lr, config.alpha_every, config.first_alpha_epoch) == (1e-3, 5, 1)
    assert (config.objective, config.mul_log_a, config.mul_log_b) == ("mul-log", 0.2, 0.3)


def test_given_settings_override_the_preset() -> None:
    assert config_from({"epochs": 3}, preset="published").epochs == 3


def test_a_yaml_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text("epochs: 4\nconstraints: [macs=320M]\nalgorithm: reinforce\n")
    config = config_from(read_config(path))
    assert config.constraints == ("macs=320M",)
    assert config.algorithm == "reinforce"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "unknown setting 'epoch'.*Did you mean 'epochs'"),
        ({"epochs": 0}, "epochs must be positive: received 0"),
        ({"epochs": "many"}, "epochs must be of type int: received 'many'"),
        ({"lr": float("nan")}, "lr must be a number"),
        ({"target_ms": -1.0}, "target_ms must be positive"),
        ({"algorithm": "evolution"}, "must be one of gradient, reinforce, darts"),
        ({"holdout": 1.0}, "strictly between 0 and 1"),
        ({"reward": "mnas"}, "Add --algorithm reinforce"),
        ({"algorithm": "reinforce", "objective": "mul-log"}, "REINFORCE has no 'mul-log' loss"),
        ({"constraints": [3]}, "must be a list of texts"),
        ({"absolute_beta": 0.5}, "must be below 0"),
    ],
)
def test_a_setting_out_of_its_range_is_named(settings: dict, message: str) -> None:
    with pytest.raises(SearchError, match=message):
        config_from(settings)


def test_the_plain_form_builds_the_same_configuration() -> None:
    config = SearchConfig(constraints=("macs=3M",), target_ms=4.0)
    assert config_from(config.to_dict()) == config
