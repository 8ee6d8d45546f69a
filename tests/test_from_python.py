"""Each snippet of docs/from-python.md runs by itself."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from documented import ROOT, typed

from proxyless_hw.profilers import own_profilers
from proxyless_hw.space import op_registry

SNIPPETS = [item.text for item in typed(ROOT / "docs" / "from-python.md")]


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_as_it_stands(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_profilers, "_AT_RUN_TIME", {})
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})
    script = tmp_path / "snippet.py"
    script.write_text(SNIPPETS[number], encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")


def test_the_page_has_its_snippets() -> None:
    assert len(SNIPPETS) >= 6
