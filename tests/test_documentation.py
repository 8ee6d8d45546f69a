"""README and docs: commands parse as printed, links and quoted messages exist, Python compiles."""

from __future__ import annotations

import ast
import builtins
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from documented import PAGES, ROOT, split, typed

from proxyless_hw.cli import cli
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.train.config import TrainConfig

LINKS = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
OURS = ("proxyless-hw", "torchrun")
CASES = [
    (page.name, item.text)
    for page in PAGES
    for item in typed(page)
    if item.kind == "command" and split(item.text)[1][0] in OURS
]
SNIPPETS = [item for page in PAGES for item in typed(page) if item.kind == "python"]
# Options in messages that belong to other programs, or are the beginning of a family.
FOREIGN = {"--help", "--nproc-per-node", "--runs", "--no-"}
VELA = {
    *("--version", "--accelerator-config", "--system-config", "--memory-mode", "--optimise"),
    *("--output-dir", "--verbose-performance", "--config", "--arena-cache-size"),
}


def test_there_are_documented_commands_and_snippets() -> None:
    assert len(CASES) > 50
    assert len(SNIPPETS) > 4


@pytest.mark.parametrize(("page", "text"), CASES)
def test_a_documented_command_parses(page: str, text: str) -> None:
    words = split(text)[1]
    words = words[words.index("proxyless_hw") + 1 :] if words[0] == "torchrun" else words[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="proxyless-hw")
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"{page}: no command {name}"
        command = found
    if "--help" not in words:
        command.make_context(command.name, words)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda item: item.page)
def test_a_documented_snippet_imports_what_it_uses(snippet: object) -> None:
    tree = ast.parse(snippet.text)  # type: ignore[attr-defined]
    bound = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    bound |= {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    bound |= {
        node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)
    }
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert read - bound <= set(dir(builtins))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINKS.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_guide_is_listed_in_the_readme() -> None:
    listed = set(LINKS.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= listed


@cache
def texts_of_the_code() -> tuple[str, ...]:
    """Every text constant of the package and the Makefile; values of f-strings are left out."""
    found = [(ROOT / "Makefile").read_text(encoding="utf-8").replace("$(PYTHON)", "")]
    for path in (ROOT / "proxyless_hw").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "" for part in node.values
                ]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return tuple(found)


def quoted_messages() -> list[str]:
    """The texts in backticks of the first column of troubleshooting.md's tables, bar options."""
    rows = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| ")]
    quoted = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    return [text for text in quoted if " " in text and not re.fullmatch(r"--[a-z-]+", text)]


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_in_the_troubleshooting_page_is_one_that_the_code_gives(message: str) -> None:
    pattern = ".*".join(re.escape(part) for part in message.split("…"))
    assert any(re.search(pattern, text, re.DOTALL) for text in texts_of_the_code())


def test_an_option_that_a_message_names_exists() -> None:
    named = {
        option
        for text in texts_of_the_code()[1:]
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", text)
        if "_" not in option and not text.startswith(f"{option}=")
    }
    settings = {
        f"--{name.replace('_', '-')}"
        for config in (SearchConfig, TrainConfig)
        for name, said in config.declarations().items()
        if said.option
    }
    commands = "".join(
        path.read_text(encoding="utf-8")
        for path in (
            *(ROOT / "proxyless_hw").rglob("commands/*.py"),
            ROOT / "proxyless_hw" / "profilers" / "device_options.py",
        )
    )
    rest = named - FOREIGN - VELA - settings - {"--no-augment"}
    assert {name for name in rest if not re.search(rf'["/]{name}["/]', commands)} == {
        "--graph"  # of benchmark_model
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quick_start_runs_as_printed(tmp_path: Path) -> None:
    for item in typed(ROOT / "docs" / "quickstart.md"):
        done = subprocess.run(
            [sys.executable, "-m", "proxyless_hw", *shlex.split(item.text)[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{item.text}\n{done.stderr[-3000:]}"
    assert (tmp_path / "runs" / "first" / "report.html").stat().st_size > 10_000
