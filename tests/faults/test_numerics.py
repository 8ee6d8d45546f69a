"""Numbers at the edge: each has a behaviour, and none ends in a number made up or a traceback."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from payloads import SPACE, write_space_and_table
from PIL import Image

from proxyless_hw.errors import DataError, SearchError, TrainingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.predictors.feasible import feasible_range
from proxyless_hw.runs.evaluation import evaluate
from proxyless_hw.search import driver as search_driver
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.derive import default_target, feasible_target, most_probable_within
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.gates import sample_others
from proxyless_hw.search.prepare import prepare_problem
from proxyless_hw.search.state import new_state
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.notices import Notice
from proxyless_hw.train import given as train_given
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.driver import run_training

ALGORITHMS: dict[str, dict[str, Any]] = {
    "full": {},
    "two-path": {"gradient_mode": "two-path"},
    "reinforce": {"algorithm": "reinforce", "reinforce_samples": 2},
    "darts": {"algorithm": "darts"},
}


def search_config(folder: Path, **changes: Any) -> SearchConfig:
    space, table = write_space_and_table(folder)
    settings: dict[str, Any] = {
        **{"space": str(space), "table": str(table), "output": str(folder / "run")},
        **{"target_ms": 7.2, "limit": 128, "train_resolution": 16, "batch_size": 32},
        **{"warmup_epochs": 1, "epochs": 2, "finalists": 2, "threads": 1},
    }
    return SearchConfig(**{**settings, **changes})


def train_config(folder: Path, **changes: Any) -> TrainConfig:
    space = SearchSpace.from_yaml(SPACE)
    path = folder / "net.json"
    Architecture.from_choices(space, [0] * len(space.slots)).save(path)
    settings: dict[str, Any] = {
        **{"arch": str(path), "output": str(folder / "run"), "limit": 128, "batch_size": 32},
        **{"train_resolution": 16, "epochs": 2, "threads": 1, "holdout": 0.25},
    }
    return TrainConfig(**{**settings, **changes})


class Spoilt:
    """A split of which one epoch's images are changed."""

    def __init__(self, split: Any, epoch: int, change: Callable[[Any], Any]) -> None:
        self.split, self.epoch, self.change = split, epoch, change

    def __len__(self) -> int:
        return len(self.split)

    def batches(self, epoch: int, **options: Any) -> Iterator[tuple[Any, Any]]:
        for images, labels in self.split.batches(epoch, **options):
            yield (self.change(images) if epoch == self.epoch else images), labels


def one_pixel(value: float) -> Callable[[Any], Any]:
    def change(images: Any) -> Any:
        images = images.clone()
        images[0, 0, 0, 0] = value
        return images

    return change


def spoil(
    monkeypatch: pytest.MonkeyPatch, driver: Any, part: str, epoch: int, value: float
) -> None:
    """Lets a driver's data hold one pixel of that value, from an epoch on."""
    real = driver.load_data

    def load(config: Any) -> Any:
        data = real(config)
        object.__setattr__(data, part, Spoilt(getattr(data, part), epoch, one_pixel(value)))
        return data

    monkeypatch.setattr(driver, "load_data", load)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        *(pytest.param(value, marks=pytest.mark.slow) for value in (float("inf"), float("-inf"))),
    ],
)
@pytest.mark.parametrize(("part", "epoch"), [("train", 1), ("holdout", 0)])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_search_stops_at_a_pixel_that_is_no_number_and_keeps_its_last_good_state(
    name: str, part: str, epoch: int, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, search_driver, part, epoch, value)
    with pytest.raises(SearchError, match=r"became .*last good checkpoint is .*checkpoint\.pt"):
        run_search(search_config(tmp_path, **ALGORITHMS[name]))
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert kept["epoch"] == 1
    weights = {key: tensor for key, tensor in kept["supernet"].items() if "running" not in key}
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


# An infinite pixel does not spoil an evaluation: ReLU6 and fixed statistics bound what it does.
@pytest.mark.parametrize(
    ("part", "epoch", "value"),
    [
        *(("train", 1, float("nan")), ("train", 1, float("inf")), ("train", 1, float("-inf"))),
        ("holdout", 0, float("nan")),
    ],
)
def test_a_training_stops_at_a_pixel_that_is_no_number(
    part: str, epoch: int, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, train_given, part, epoch, value)
    with pytest.raises(
        TrainingError, match=r"loss became (nan|inf)|loss on 32 images is (nan|inf)"
    ):
        run_training(train_config(tmp_path))
    assert not (tmp_path / "run" / "result.json").exists()
    assert (tmp_path / "run" / "checkpoint.pt").exists() == (part == "train")


def test_outputs_that_are_no_numbers_are_no_accuracy(tmp_path: Path) -> None:
    network = build_network(load_architecture(train_config(tmp_path).arch), seed=0)
    with torch.no_grad():
        network.stem[0].bn.running_var[0] = float("nan")
    batch = (torch.zeros(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(TrainingError, match="loss on 4 images is nan"):
        evaluate(network, [batch], torch.device("cpu"), TrainingError)


def write_mnist(folder: Path, label: int) -> None:
    for part, count in (("train", 64), ("t10k", 8)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 10
        labels[3] = label
        header = struct.pack(">BBBBI", 0, 0, 8, 1, count)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


@pytest.mark.parametrize("label", [10, 255])
def test_a_label_out_of_range_ends_a_search_or_training_before_its_first_step(
    label: int, tmp_path: Path
) -> None:
    write_mnist(tmp_path, label)
    data = {"data": "mnist", "data_root": str(tmp_path), "limit": 64}
    for run, config in (
        (run_search, search_config(tmp_path, **data)),
        (run_training, train_config(tmp_path, **data)),
    ):
        with pytest.raises(DataError, match=f"between 0 and 9: image 3 has {label}"):
            run(config)  # type: ignore[operator]
    assert not list(tmp_path.rglob("metrics.jsonl"))


def write_pictures(folder: Path, classes: int) -> None:
    for name in range(classes):
        (folder / f"class{name}").mkdir(parents=True)
        for number in range(20):
            pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{name}" / f"{number}.png")


def test_one_class_is_refused_and_two_are_enough(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_pictures(one, 1)
    write_pictures(two, 2)
    small = {"data": "folder", "limit": 16, "batch_size": 4, "epochs": 1}
    for run, make, folder in (
        (run_search, search_config, "search"),
        (run_training, train_config, "train"),
    ):
        place = tmp_path / folder
        place.mkdir()
        with pytest.raises(DataError, match=r"holds only 'class0'; .* two or more"):
            run(make(place, data_root=str(one), **small))  # type: ignore[operator]
        run(make(place, data_root=str(two), **small))  # type: ignore[operator]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_search_with_batches_of_one_runs_where_maps_have_more_than_one_pixel(
    name: str, tmp_path: Path
) -> None:
    small = {"batch_size": 1, "limit": 8, "epochs": 1, **ALGORITHMS[name]}
    result = run_search(search_config(tmp_path, train_resolution=16, **small))
    assert 0.99 * 7.2 <= result.predicted_ms <= 7.2


def deep_space(text: str) -> str:
    """The space with two more stages of stride 2: a map of one pixel at 8 pixels."""
    more = "  - {width: 16, depth: 1, stride: 2}\n"
    return text.replace("head:", f"{more}{more}head:").replace("id: tiny", "id: deep")


def test_a_batch_of_one_over_a_map_of_one_pixel_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import payloads

    monkeypatch.setattr(payloads, "SPACE", deep_space(SPACE))
    small = {"batch_size": 1, "train_resolution": 8, "limit": 8}
    with pytest.raises(SearchError, match=r"more than one value per channel.*--batch-size"):
        run_search(search_config(tmp_path, target_ms=None, objective="none", **small))
    space = SearchSpace.from_yaml(payloads.SPACE)
    Architecture.from_choices(space, [0] * len(space.slots)).save(tmp_path / "deep.json")
    config = train_config(tmp_path, **{**small, "output": str(tmp_path / "train")})
    with pytest.raises(TrainingError, match=r"more than one value per channel.*--batch-size"):
        run_training(TrainConfig(**{**config.to_dict(), "arch": str(tmp_path / "deep.json")}))


def test_a_training_with_batches_of_one_runs(tmp_path: Path) -> None:
    run_training(train_config(tmp_path, batch_size=1, limit=8, epochs=1))


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize(
    "logit", [1e4, *(pytest.param(value, marks=pytest.mark.slow) for value in (50.0, 1e30))]
)
def test_an_alpha_that_saturates_goes_on_to_a_network_within_its_target(
    name: str, logit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saturated(*arguments: Any) -> Any:
        state = new_state(*arguments)
        with torch.no_grad():
            state.supernet.alpha[:, 0] = logit
        return state

    monkeypatch.setattr(search_driver, "new_state", saturated)
    result = run_search(search_config(tmp_path, **ALGORITHMS[name]))
    assert 0.99 * 7.2 <= result.predicted_ms <= 7.2
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert bool(kept["supernet"]["alpha"].isfinite().all())


def test_the_second_path_of_a_saturated_slot_is_one_that_exists() -> None:
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    p = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_others(p, (0, 0), mask, generator) for _ in range(200)]
    assert {first for first, _ in drawn} == {1}
    assert {second for _, second in drawn} == {1, 2, 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rho": 1e308}, "gradient of alpha became NaN or infinite"),
        ({"objective": "add-linear", "add_linear_c": 1e308}, "gradient of alpha became NaN"),
        ({"objective": "mul-log", "mul_log_b": 101.0}, r"mul_log_b must lie in \[-100, 100\]"),
        ({"lr": 1e30, "clip_norm": None}, "became NaN or infinite|loss became"),
    ],
)
def test_settings_that_leave_the_range_of_numbers_are_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match=message):
        run_search(search_config(tmp_path, **changes))
    path = tmp_path / "run" / "checkpoint.pt"
    if path.exists():
        kept = torch.load(path, weights_only=True)["supernet"]
        assert all(bool(kept[key].isfinite().all()) for key in kept if "running" not in key)


def reachable(folder: Path) -> tuple[float, float]:
    (constraint,) = prepare_problem(search_config(folder)).constraints
    return constraint.costs.range


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("miss", [0.0, 1e-12, 9e-10])
def test_a_target_at_the_end_of_the_range_gives_the_network_there(
    end: int, miss: float, tmp_path: Path
) -> None:
    bound = reachable(tmp_path)[end]
    target = bound * (1 - miss if end == 0 else 1 + miss)
    result = run_search(search_config(tmp_path, target_ms=target, epochs=1))
    assert result.target == bound
    # The cheapest network is unique here; below the dearest one others lie in the window.
    assert 0.99 * bound <= result.predicted_ms <= bound * (1 + 1e-12)
    if end == 0:
        assert result.predicted_ms == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("miss", [2e-9, 1e-6, 1e-3])
def test_a_target_that_misses_the_range_by_a_little_is_refused_before_any_training(
    end: int, miss: float, tmp_path: Path
) -> None:
    bound = reachable(tmp_path)[end]
    target = bound * (1 - miss if end == 0 else 1 + miss)
    with pytest.raises(SearchError, match="lies outside what the space can reach") as caught:
        run_search(search_config(tmp_path, target_ms=target))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    named = str(caught.value).split(": ", 1)[1].split(" ms")[0].split(" to ")
    for text in named:  # what the message names can be typed as the next target
        prepare_problem(search_config(tmp_path, target_ms=float(text)))


def test_a_window_without_a_network_is_refused_before_any_training(tmp_path: Path) -> None:
    table = CostTable(
        "gaps", "ms", 0.0, np.array([[1.0, 10.0], [1.0, 10.0]]), np.ones((2, 2), bool)
    )
    with pytest.raises(SearchError, match="nearest cost 11 and 20 ms"):
        most_probable_within(np.zeros((2, 2)), [table], [15.0])
    low, high = reachable(tmp_path)
    for target in np.linspace(low, high, 400):
        try:
            prepare_problem(search_config(tmp_path, target_ms=float(target)))
        except SearchError as error:
            message = str(error)
            break
    assert "no network costs between 0.99 T and T" in message
    nearest = float(message.split("nearest cost ")[1].split(" ")[0])
    assert low <= nearest <= high


def test_a_target_that_nobody_chose_always_has_a_network(tmp_path: Path) -> None:
    gaps = CostTable("g", "ms", 0.0, np.array([[1.0, 10.0], [1.0, 10.0]]), np.ones((2, 2), bool))
    assert default_target(gaps) == 2.0  # the geometric mean, 6.3, lies between 2 and 11
    problem = prepare_problem(search_config(tmp_path, target_ms=None))
    assert most_probable_within(
        np.zeros(problem.constraints[0].costs.mask.shape),
        [problem.constraints[0].costs],
        [problem.target],
    )


@pytest.mark.parametrize("seed", range(20))
def test_targets_at_both_ends_are_derived_exactly_also_among_near_ties(seed: int) -> None:
    draw = np.random.default_rng(seed)
    slots = draw.random((6, 4)) * 4
    slots[:, 1] = slots[:, 0] * (1 + draw.choice([0, 1e-12, 1e-9, 1e-7, 1e-5], 6))
    table = CostTable("ties", "ms", 2.0, slots, np.ones(slots.shape, bool))
    log_p = np.log(draw.dirichlet(np.ones(4), 6))
    for bound in table.range:
        assert feasible_target(table, bound) == bound
        found = most_probable_within(log_p, [table], [bound])[0]
        assert 0.99 * bound <= found.costs[0] <= bound * (1 + 1e-12)


def test_every_number_of_a_result_is_finite(tmp_path: Path) -> None:
    run_search(search_config(tmp_path))
    text = (tmp_path / "run" / "result.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in result.json"))


def test_the_middle_of_the_range_is_the_default_target_also_where_it_is_given(
    tmp_path: Path,
) -> None:
    config = search_config(tmp_path)
    space, made = SearchSpace.load(config.space), LatencyTable.load(config.table)
    costs = {op: 100.0 if op.kernel == 5 else 1.0 for op in made.entries}
    entries = {op: Entry(cost, 0.99 * cost, 1.01 * cost) for op, cost in costs.items()}
    table = LatencyTable(entries, made.metadata)
    low, high = feasible_range(space, table)
    with pytest.warns(Notice, match="the search takes the nearest cost below"):
        problem = prepare_problem(replace(config, target_ms=(low * high) ** 0.5), space, table)
    (constraint,) = problem.constraints
    assert constraint.target < 0.99 * (low * high) ** 0.5
    assert constraint.target == default_target(constraint.costs)
    with pytest.raises(SearchError, match="no network costs between"):
        prepare_problem(replace(config, target_ms=1.01 * (low * high) ** 0.5), space, table)
