"""The script of docs/from-python-tasks.md runs as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from documented import ROOT, typed

SNIPPETS = [item.text for item in typed(ROOT / "docs" / "from-python-tasks.md")]


@pytest.mark.slow
def test_the_script_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (text,) = SNIPPETS
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "snippet.py"
    script.write_text(text, encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert "TaskResult(loss='smooth_l1_loss', metric='closeness'" in capsys.readouterr().out
