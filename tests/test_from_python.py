"""Each snippet of docs/from-python.md runs by itself."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from documented import ROOT, typed

import proxyless_hw as ph
from proxyless_hw.cli import COMMANDS
from proxyless_hw.commands.space import SPACE_COMMANDS
from proxyless_hw.commands.table import TABLE_COMMANDS
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


def test_the_page_names_a_function_for_every_command() -> None:
    page = (ROOT / "docs" / "from-python.md").read_text(encoding="utf-8")
    head = "| command | function | returns |\n|---|---|---|\n"
    rows = [line.split("|") for line in page.partition(head)[2].partition("\n\n")[0].splitlines()]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row[1])]
    groups = {"table": TABLE_COMMANDS, "space": SPACE_COMMANDS}
    within = [f"{group} {name}" for group, names in groups.items() for name in names]
    assert sorted([*named, "demo"]) == sorted({*COMMANDS, *within} - set(groups))
    for row in rows:
        functions = re.findall(r"`([^`]+)`", row[2])
        assert functions
        for function in functions:
            owner = ph if function.startswith("ph.") else ph.LatencyTable
            assert callable(getattr(owner, function.rpartition(".")[2])), function


def test_the_page_has_its_snippets() -> None:
    assert len(SNIPPETS) >= 6
