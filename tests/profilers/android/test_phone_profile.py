"""`profile` on a phone, from the command to the table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import standin_adb
from android_phone import Phone
from small_ops import TINY_SPACE

from proxyless_hw.cli import main
from proxyless_hw.profilers.android import adb as adb_module
from proxyless_hw.profilers.base import Workload
from proxyless_hw.tables.table import LatencyTable


@pytest.mark.usefixtures("converted")
def test_profile_measures_a_phone_end_to_end(
    phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone.configure(times_us=None)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    monkeypatch.setenv("PATH", f"{phone.folder}:{os.environ['PATH']}")
    out = tmp_path / "phone.csv"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *("profile", "--device", "mobile", "--space", str(tmp_path / "tiny.yaml")),
                *("--serial", "PHONE1", "--taskset", "f0", "--goal", "0.9", "--quiet"),
                *("--option", "runs=3", "--option", "min_secs=0", "--output", str(out)),
            ]
        )
    assert exit_.value.code in (0, None)
    table = LatencyTable.load(out)
    assert len(table) == 4
    assert table.metadata["device"] == "Google Pixel 1"
    assert table.metadata["visit_statistic"] == "median"
    assert table.metadata["space"] == "tiny"
    assert all(entry.rounds is not None and entry.rounds >= 5 for entry in table.entries.values())
    assert phone.leftovers() == []


def test_a_profile_goes_on_after_the_phone_was_unplugged(
    phone: Phone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(adb_module, "write_model_files", dummy_files)
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    out = tmp_path / "phone.csv"
    arguments = [
        *("profile", "--device", "mobile", "--space", str(tmp_path / "tiny.yaml"), "--quiet"),
        *("--option", f"adb={phone.adb}", "--goal", "0.5", "--output", str(out)),
    ]
    # The first ten calls find the phone, set it up and try a model; then there are two rounds.
    phone.configure(unplugged_after_calls=12)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 1
    assert "the phone PHONE1 is gone: error: device 'PHONE1' not found" in capsys.readouterr().err
    assert not out.exists()
    phone.configure(unplugged_after_calls=10**6)
    before = measured_segments(phone)
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--resume"])
    assert exit_.value.code in (0, None)
    again = measured_segments(phone) - before
    table = LatencyTable.load(out)
    rounds = max(entry.rounds or 0 for entry in table.entries.values())
    assert rounds == 5
    assert again == rounds - 2, "finished rounds are not measured again"


def measured_segments(phone: Phone) -> int:
    """Loops over more than one model, that is, without the trial when a session opens."""
    return sum("m0001" in call[-1] and "shell" in call for call in standin_adb.calls(phone.folder))


def dummy_files(workloads: list[Workload], _: Any, form: str, folder: Path) -> list[Path]:
    """Files without models, for tests in which nothing runs them."""
    paths = [folder / f"m{index:04d}.{form}" for index in range(len(workloads))]
    for path in paths:
        path.write_bytes(b"model")
    return paths


def test_profile_without_a_phone_is_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    out = tmp_path / "t.csv"
    with pytest.raises(SystemExit) as exit_:
        main(["profile", "--device", "mobile", "--output", str(out)])
    assert exit_.value.code == 1
    captured = capsys.readouterr()
    assert "error: adb is not installed" in captured.err
    assert "--bundle" in captured.err
    assert not out.exists()
