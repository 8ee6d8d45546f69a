"""What README and docs tell a reader to type: commands and Python snippets, page by page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("proxyless-hw", "torchrun", "python", "pip", "make", "adb", "unzip")
ASSIGNMENT = re.compile(r"([A-Z_]+)=(\S*)$")


@dataclass(frozen=True)
class Typed:
    """One command line, or one Python snippet.

    Attributes:
        page: name of the page.
        kind: what it is.
        text: as printed, continued lines joined.
    """

    page: str
    kind: Literal["command", "python"]
    text: str


def typed(page: Path) -> list[Typed]:
    """Everything a page tells to type, in order.

    A block that holds a command holds nothing else; one that imports the package is Python.
    """
    found: list[Typed] = []
    for language, lines in _blocks(page.read_text(encoding="utf-8")):
        text = "\n".join(lines)
        if language == "python" or re.search(r"^import proxyless_hw", text, re.MULTILINE):
            found.append(Typed(page.name, "python", text))
            continue
        joined = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
        programs = {program(line) for line in joined}
        if programs.intersection(PROGRAMS):
            assert programs <= set(PROGRAMS), f"{page.name}: {programs} in one block"
            found += [Typed(page.name, "command", line.strip()) for line in joined]
    return found


def program(line: str) -> str:
    """The program that a line starts, behind assignments to the environment."""
    words = line.split()
    return next((word for word in words if not ASSIGNMENT.match(word)), "")


def split(text: str) -> tuple[dict[str, str], list[str], str | None]:
    """A command line's assignments, words, and the file that takes its output."""
    words = shlex.split(text, comments=True)
    output = None
    if ">" in words:
        place = words.index(">")
        output = words[place + 1]
        del words[place : place + 2]
    environment = {}
    while found := ASSIGNMENT.match(words[0]):
        environment[found[1]] = found[2]
        del words[0]
    return environment, words, output


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Language and lines of every fenced block, and of every indented one between blank lines."""
    lines = text.splitlines()
    index, blank = 0, True
    while index < len(lines):
        line = lines[index]
        if line.startswith("```"):
            end = index + 1 + lines[index + 1 :].index("```")
            yield line.removeprefix("```").strip(), lines[index + 1 : end]
            index = end + 1
        elif blank and line.startswith("    "):
            end = index
            while end < len(lines) and lines[end].startswith("    "):
                end += 1
            yield "", [item.removeprefix("    ") for item in lines[index:end]]
            index = end
            continue
        else:
            index += 1
        blank = not line.strip()
