"""The layout of docs/architecture.md: who may import whom, and how long a module may be."""

from __future__ import annotations

import pytest
from documented import ROOT

LONGEST = 350
PACKAGE = ROOT / "proxyless_hw"


def test_the_contracts_on_imports_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    cli = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_no_module_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
