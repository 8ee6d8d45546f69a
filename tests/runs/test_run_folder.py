"""What a run folder allows: a new run, going on, and neither of them by accident."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.runs.folder import RunFolder
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.train.run_folder import TrainFolder


@pytest.mark.parametrize("kind", [SearchFolder, TrainFolder])
def test_a_run_whose_settings_are_gone_does_not_go_on_under_others(
    kind: type[RunFolder], tmp_path: Path
) -> None:
    folder = kind(tmp_path)
    folder.check_may_run({"seed": 0}, resume=True)  # nothing is there yet
    folder.checkpoint.write_bytes(b"")
    with pytest.raises(ProxylessHwError, match=r"config\.json"):
        folder.check_may_run({"seed": 0}, resume=True)


@pytest.mark.parametrize("kind", [SearchFolder, TrainFolder])
def test_settings_that_change_the_result_must_be_the_runs_own(
    kind: type[RunFolder], tmp_path: Path
) -> None:
    folder = kind(tmp_path)
    folder.write_json(folder.config, {"kind": "train", "settings": {"seed": 0, "threads": 1}})
    folder.check_may_run({"seed": 0, "threads": 2}, resume=True)
    with pytest.raises(ProxylessHwError, match="seed was 0, received 1"):
        folder.check_may_run({"seed": 1, "threads": 1}, resume=True)
    with pytest.raises(ProxylessHwError, match="already holds a run"):
        folder.check_may_run({"seed": 0}, resume=False)
