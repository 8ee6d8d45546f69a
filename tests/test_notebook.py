"""The notebook in examples/: it is own_loop.py in pieces, it is well formed, and its cells run."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
from documented import ROOT

NOTEBOOK = ROOT / "examples" / "own_loop.ipynb"
SMALLER = {
    "torch.randn(16, 3, 64, 64)": "torch.randn(2, 3, 32, 32)",
    "range(12)": "range(1)",
    "resolution=64": "resolution=32",
    "(16, 2)": "(2, 2)",
}
"""Changes after which the cells take seconds."""


def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return found


def code_cells() -> list[str]:
    cells = document()["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_it_is_a_notebook_of_format_4_without_outputs() -> None:
    read = document()
    assert (read["nbformat"], read["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in read["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in read["cells"]:
        wanted = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            wanted |= {"execution_count", "outputs"}
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
        assert set(cell) == wanted
    kinds = [cell["cell_type"] for cell in read["cells"]]
    assert kinds == ["markdown", "code"] * (len(kinds) // 2)


def test_its_code_is_the_script() -> None:
    script = ast.parse((ROOT / "examples" / "own_loop.py").read_text(encoding="utf-8"))
    script.body = script.body[1:]  # without the docstring
    assert ast.dump(ast.parse("\n".join(code_cells()))) == ast.dump(script)


@pytest.mark.slow
def test_its_cells_run_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    cells, found = code_cells(), dict.fromkeys(SMALLER, 0)
    names: dict[str, Any] = {}
    for number, text in enumerate(cells):
        for long, short in SMALLER.items():
            found[long] += text.count(long)
            text = text.replace(long, short)
        exec(compile(text, f"cell {number}", "exec"), names)
    assert set(found.values()) == {1}
    assert re.search(r"derived (59\.\d+|60\.00) ms", capsys.readouterr().out)
