"""Two real gloo processes: the same path, averaged gradients, the same alpha on both ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from gloo_pair import run_pair

from proxyless_hw.errors import SearchError
from proxyless_hw.runs import lifecycle
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.search import driver as search_driver
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.train import driver as train_driver
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.run_folder import KIND, TrainFolder

IMPORTS = """
import json
import torch
from proxyless_hw.search import driver
from proxyless_hw.search.config import config_from
"""
WORKER = """
states = []
make = driver.new_state
def keep(*args, **kwargs):
    states.append(make(*args, **kwargs))
    return states[-1]
driver.new_state = keep
result = driver.run_search(config_from(json.loads(sys.argv[1])))
rank = os.environ["RANK"]
net = states[-1].supernet
torch.save({"alpha": net.alpha.detach(), "stem": net.stem[0].conv.weight.detach(),
            "files": result is not None}, sys.argv[2] + rank)
"""


def test_alpha_and_weights_are_the_same_on_both_ranks(
    tiny_files: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = {
        "space": str(tiny_files[0]), "table": str(tiny_files[1]), "output": str(tmp_path / "run"),
        "target_ms": 7.2, "limit": 128, "train_resolution": 16, "batch_size": 16,
        "warmup_epochs": 1, "epochs": 2,
    }  # fmt: skip
    run_pair(IMPORTS, WORKER, json.dumps(settings), tmp_path / "rank")
    first, second = (torch.load(tmp_path / f"rank{rank}", weights_only=True) for rank in (0, 1))
    assert torch.equal(first["alpha"], second["alpha"])
    assert torch.equal(first["stem"], second["stem"])
    assert (first["files"], second["files"]) == (True, False)
    assert not torch.equal(first["alpha"], torch.zeros_like(first["alpha"]))


def test_a_process_leaves_its_peers_only_after_all_have_trained(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []

    class Recorded(World):
        def barrier(self) -> None:
            events.append("barrier")

    monkeypatch.setattr(lifecycle, "join_world", lambda device: Recorded())
    monkeypatch.setattr(lifecycle, "leave_world", lambda world: events.append("leave"))
    train = search_driver._train
    monkeypatch.setattr(
        search_driver, "_train", lambda *values: [train(*values), events.append("trained")]
    )
    config = SearchConfig(
        space=str(tiny_files[0]), table=str(tiny_files[1]), output=str(tmp_path / "run"),
        target_ms=7.2, limit=128, train_resolution=16, batch_size=32, warmup_epochs=0, epochs=1,
    )  # fmt: skip
    search_driver.run_search(config)
    assert events == ["trained", "barrier", "leave"]


@pytest.mark.parametrize(
    ("asked", "local_rank", "given"),
    [
        *(("cuda", "3", "cuda:3"), ("auto", "1", "cuda:1")),
        *(("cuda:0", "3", "cuda:0"), ("cuda", None, "cuda"), ("cpu", "3", "cpu")),
    ],
)
def test_each_process_of_torchrun_has_a_gpu_of_its_own(
    asked: str,
    local_rank: str | None,
    given: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if local_rank is not None:
        monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert choose_device(asked, SearchError) == torch.device(given)


def test_resuming_a_finished_search_ends_on_the_other_processes_too(
    tiny_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SearchFolder(tmp_path / "run")
    run.write_json(run.result, {"verify": None})
    config = SearchConfig(
        space=str(tiny_files[0]), table=str(tiny_files[1]), output=str(run.path), resume=True
    )
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(lifecycle, "join_world", no_peers)
    assert search_driver.run_search(config) is None


def test_resuming_a_finished_training_ends_on_the_other_processes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(arch="mobilenet-v2", output=str(tmp_path / "run"), resume=True)
    run = TrainFolder(tmp_path / "run")
    run.write_json(run.config, {"kind": KIND, "settings": config.to_dict()})
    run.write_json(run.result, {})
    monkeypatch.setattr(lifecycle, "join_world", lambda _: World(1, 2))
    monkeypatch.setattr(train_driver, "_train", no_peers)
    assert train_driver.run_training(config) is None


def no_peers(*_: object) -> None:
    raise AssertionError("the first process has left: nobody would answer")
