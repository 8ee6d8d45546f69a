"""Whole searches on a tiny space: files, landing, resume bit for bit, faults."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from proxyless_hw.errors import BackendUnavailableError, SearchError
from proxyless_hw.profilers.host.environment import host_device
from proxyless_hw.runs.interrupt import InterruptedRunError
from proxyless_hw.runs.run_network import load_derived_network
from proxyless_hw.search import calibrate, driver, verify
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.observer import SearchObserver, TerminalObserver
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.tables.table import LatencyTable

Files = tuple[Path, Path]


def tiny(files: Files, output: Path, **changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "space": str(files[0]),
        "table": str(files[1]),
        "output": str(output),
        "target_ms": 7.2,
        "limit": 256,
        "train_resolution": 16,
        "batch_size": 32,
        "warmup_epochs": 1,
        "epochs": 3,
        "finalists": 3,
        **changes,
    }
    return SearchConfig(**settings)


class StopAt(SearchObserver):
    """Sends this process a signal after so many steps."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.left, self.number = step, number

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_same_state(one: Any, other: Any, where: str = "") -> None:
    """Bit for bit, but for the time that was spent."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            if key not in ("seconds", "config"):
                assert_same_state(value, other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, value in enumerate(one):
            assert_same_state(value, other[index], f"{where}[{index}]")
    else:
        assert one == other, where


def test_a_search_leaves_a_complete_run_folder(tiny_files: Files, tmp_path: Path) -> None:
    result = run_search(tiny(tiny_files, tmp_path / "run"))
    document = json.loads((tmp_path / "run" / "result.json").read_text())
    target = document["target_ms"]
    assert 0.99 * target <= document["predicted_ms"] <= target
    assert Architecture.load(tmp_path / "run") == result.architecture
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["phase"] for line in lines] == ["warmup"] + ["search"] * 3
    assert len(document["pareto"]) == 50
    assert len(document["margins"]) == 3
    network = load_derived_network(tmp_path / "run")
    assert network(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    assert result is not None
    assert not result.network.training
    assert result.to_json() == document
    assert_same_state(result.network.state_dict(), network.state_dict())


def test_the_same_seed_gives_the_same_search(tiny_files: Files, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_search(tiny(tiny_files, tmp_path / name))
    assert_same_state(checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b"))


ALGORITHMS: dict[str, dict[str, Any]] = {
    "full": {},
    "two-path": {"gradient_mode": "two-path"},
    "reinforce": {"algorithm": "reinforce", "reinforce_samples": 2},
    "reinforce mnas": {"algorithm": "reinforce", "reinforce_samples": 2, "reward": "mnas"},
    "reinforce absolute": {"algorithm": "reinforce", "reinforce_samples": 2, "reward": "absolute"},
    "darts": {"algorithm": "darts"},
    "add-linear": {"objective": "add-linear"},
    "mul-log": {"objective": "mul-log"},
    "none": {"objective": "none"},
    "two constraints": {"constraints": ("macs=0.55M",)},
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_interrupted_search_ends_bit_for_bit_as_an_uninterrupted_one(
    name: str, tiny_files: Files, tmp_path: Path
) -> None:
    changes = ALGORITHMS[name]
    run_search(tiny(tiny_files, tmp_path / "whole", **changes))
    broken = tiny(tiny_files, tmp_path / "broken", resume=True, **changes)
    for step in (2, 6, 12):  # in the middle of warm-up, of a search epoch, after the last step
        with pytest.raises(InterruptedRunError, match="--resume"):
            run_search(broken, lambda constraints, step=step: StopAt(step))
    run_search(broken)
    assert_same_state(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "broken"))
    whole, ended = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "broken")
    )
    for one, other in zip(whole, ended, strict=True):
        assert_same_state(one, other)


def test_a_search_killed_outright_resumes_to_the_same_alpha(
    tiny_files: Files, tmp_path: Path
) -> None:
    # Both processes with one thread: another number of threads adds up in another order.
    config = tiny(tiny_files, tmp_path / "killed", epochs=6, threads=1)
    run_search(tiny(tiny_files, tmp_path / "whole", epochs=6, threads=1))
    script = """
import json, sys
sys.path.insert(0, sys.argv[2])
from killed import KilledInTheThirdEpoch
from proxyless_hw.search.config import config_from
from proxyless_hw.search.driver import run_search

run_search(config_from(json.loads(sys.argv[1])), lambda constraints: KilledInTheThirdEpoch())
"""
    here = str(Path(__file__).parent)
    process = subprocess.run(
        [sys.executable, "-c", script, json.dumps(config.to_dict()), here], check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert len((tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "killed" / "result.json").exists()
    run_search(tiny(tiny_files, tmp_path / "killed", epochs=6, threads=1, resume=True))
    assert_same_state(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "killed"))


@pytest.mark.parametrize(
    ("warmup", "epochs", "said"),
    [
        (2, 1, "2 warm-up epochs, then 1 of search"),
        (1, 2, "1 warm-up epoch, then 2 of search"),
        (0, 1, "no warm-up, 1 epoch of search"),
    ],
)
def test_the_first_lines_say_how_many_epochs_come_before_those_asked_for(
    tiny_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str], warmup: int, epochs: int,
    said: str,
) -> None:  # fmt: skip
    config = tiny(tiny_files, tmp_path / "run", warmup_epochs=warmup, epochs=epochs)
    run_search(config, TerminalObserver)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("searching 'tiny'")
    assert said in lines[:5]
    assert sum(line.lstrip().startswith(("warmup", "search ")) for line in lines) == warmup + epochs


def test_an_existing_run_is_refused_without_resume(tiny_files: Files, tmp_path: Path) -> None:
    config = tiny(tiny_files, tmp_path / "run")
    run_search(config)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    with pytest.raises(SearchError, match=r"already holds a run.*--resume"):
        run_search(config)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_resuming_a_finished_run_gives_its_result(tiny_files: Files, tmp_path: Path) -> None:
    first = run_search(tiny(tiny_files, tmp_path / "run"))
    again = run_search(tiny(tiny_files, tmp_path / "run", resume=True))
    assert again.to_json() == first.to_json()


def test_a_finished_run_is_measured_when_verify_is_asked_for_later(
    tiny_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = LatencyTable.load(tiny_files[1]).with_metadata(device=host_device())
    table.save(tmp_path / "here.csv")
    files = (tiny_files[0], tmp_path / "here.csv")
    plain = run_search(tiny(files, tmp_path / "run"))
    trained = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert plain.verdict is None
    monkeypatch.setattr(calibrate, "calibrate_first", lambda *_: False)
    # Really measured, but here: a fresh process, which test_whole_networks starts, loads for long.
    real = verify.measure_for
    monkeypatch.setattr(
        verify, "measure_for", lambda *args, **how: real(*args, **{**how, "fresh": False})
    )
    later = tiny(files, tmp_path / "run", resume=True, verify=True, verify_budget=2.0)
    measured = run_search(later)
    # The table is made up, milliseconds where microseconds are true: the loop has to say so. Two
    # networks lie in the window, too few for a verdict on the table.
    assert measured.verdict == "agrees"
    assert "a larger network would fit too" in measured.verification.sentence
    assert measured.verification.correction == 1.0
    assert measured.measured < 0.5 * measured.target
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == trained
    again = run_search(later)
    assert again.to_json() == measured.to_json()


def test_resuming_with_another_setting_is_refused(tiny_files: Files, tmp_path: Path) -> None:
    run_search(tiny(tiny_files, tmp_path / "run"))
    with pytest.raises(SearchError, match="epochs was 3, received 5"):
        run_search(tiny(tiny_files, tmp_path / "run", resume=True, epochs=5))


def test_a_checkpoint_of_another_space_is_refused(tiny_files: Files, tmp_path: Path) -> None:
    run_search(tiny(tiny_files, tmp_path / "run"))
    (tmp_path / "run" / "result.json").unlink()
    lines = tiny_files[0].read_text().replace("id: tiny", "id: other").splitlines()
    first = next(number for number, line in enumerate(lines) if "expand: 2" in line)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]  # same ops, another order
    tiny_files[0].write_text("\n".join(lines))
    with pytest.raises(SearchError, match="made in space 'tiny', this search uses 'other'"):
        run_search(tiny(tiny_files, tmp_path / "run", resume=True))


def test_an_unreachable_target_states_the_range_before_any_training(
    tiny_files: Files, tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match=r"lies outside what the space can reach.*to .* ms"):
        run_search(tiny(tiny_files, tmp_path / "run", target_ms=500.0))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_nan_in_the_data_stops_with_the_last_good_checkpoint_named(
    tiny_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = driver.load_data

    class Spoilt:
        def __init__(self, split: Any) -> None:
            self.split = split

        def __len__(self) -> int:
            return len(self.split)

        def batches(self, epoch: int, **kwargs: Any) -> Any:
            for images, labels in self.split.batches(epoch, **kwargs):
                yield (images * float("nan") if epoch == 2 else images), labels

    def spoil(config: Any) -> Any:
        data = real(config)
        object.__setattr__(data, "train", Spoilt(data.train))
        return data

    monkeypatch.setattr(driver, "load_data", spoil)
    with pytest.raises(SearchError, match=r"loss became nan.*last good checkpoint is .*checkpoint"):
        run_search(tiny(tiny_files, tmp_path / "run"))
    assert checkpoint(tmp_path / "run")["epoch"] == 2


def test_two_searches_cannot_share_a_folder(tiny_files: Files, tmp_path: Path) -> None:
    class Intruder(SearchObserver):
        def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
            with pytest.raises(SearchError, match="another process is writing"):
                run_search(tiny(tiny_files, tmp_path / "run", epochs=1, resume=True))

    run_search(tiny(tiny_files, tmp_path / "run", epochs=1), lambda constraints: Intruder())


def test_tensorboard_events_hold_the_metrics(tiny_files: Files, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_search(tiny(tiny_files, tmp_path / "run", tensorboard=True))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["train_loss"] for line in lines[1:]]
    read = [event.value for event in events.Scalars("search/train_loss")]
    assert read == pytest.approx(losses, rel=1e-6)


def test_a_device_that_is_not_here_is_named_before_any_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from proxyless_hw.search.measurable import check_device_is_here
    from proxyless_hw.tables.table import LatencyTable

    monkeypatch.setenv("PATH", str(tmp_path))  # no adb
    table = LatencyTable.load("pixel1")
    with pytest.raises(BackendUnavailableError, match="adb is not installed"):
        check_device_is_here(table)
    with pytest.raises(SearchError, match="measured on 'another machine'"):
        check_device_is_here(table.with_metadata(device_kind="cpu", device="another machine"))


def test_a_refused_search_leaves_no_folder(tiny_files: Files, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="no weights file"):
        run_search(tiny(tiny_files, tmp_path / "run", weights=str(tmp_path / "absent.pth")))
    assert not (tmp_path / "run").exists()
