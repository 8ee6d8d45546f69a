"""The commands in README and docs: each parses as printed; the quick start runs as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from proxyless_hw.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKS = re.compile(r"\]\(([^)#:]+)\)")


def documented_commands(page: Path) -> list[str]:
    """Lines of code blocks that start with proxyless-hw, continued lines joined."""
    commands: list[str] = []
    fenced = False
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            found = re.match(r"\s*(?:\$ )?(?:torchrun .*-m proxyless_hw|proxyless-hw)\s+(.*)", line)
            if found:
                commands.append(found.group(1))
    return commands


CASES = [(page.name, text) for page in PAGES for text in documented_commands(page)]


def test_there_are_documented_commands() -> None:
    assert len(CASES) > 30


@pytest.mark.parametrize(("page", "text"), CASES)
def test_a_documented_command_parses(page: str, text: str) -> None:
    words = [word for word in shlex.split(text, comments=True) if word != "..."]
    words = words[: words.index(">")] if ">" in words else words
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINKS.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quick_start_runs_as_printed(tmp_path: Path) -> None:
    for text in documented_commands(ROOT / "docs" / "quickstart.md"):
        done = subprocess.run(
            [sys.executable, "-m", "proxyless_hw", *shlex.split(text)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr[-3000:]}"
    assert (tmp_path / "runs" / "first" / "report.html").stat().st_size > 10_000
