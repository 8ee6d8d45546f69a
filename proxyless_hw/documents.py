"""Bounded, safe reading of small YAML and JSON documents that a user hands over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import yaml

from proxyless_hw.errors import ProxylessHwError

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64

# libyaml's safe loader where PyYAML was built with it: the same rules, several times as fast.
SAFE_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_text(path: Path, error: type[ProxylessHwError], what: str) -> str:
    """Reads a UTF-8 text file of at most 16 MiB.

    Raises:
        ProxylessHwError: (as `error`) absent, unreadable, too large, or not UTF-8.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise error(f"{what} must be a file: {path} is a folder.")
        if size > MAX_BYTES:
            raise error(
                f"{what} may have at most {MAX_BYTES >> 20} MiB: {path} has {size / 2**20:.0f} MiB."
            )
        # Spreadsheets put a byte-order mark first.
        return path.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise error(f"cannot read {what} {path}: {cause.strerror or cause}.") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{what} {path} is not UTF-8 text (byte {cause.start}).") from cause


def check_depth(text: str, error: type[ProxylessHwError], what: str) -> None:
    """Refuses bracket nesting that could exhaust the parser's stack.

    Raises:
        ProxylessHwError: (as `error`) brackets are nested more than 64 deep.
    """
    depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise error(f"{what} nests brackets more than {MAX_DEPTH} deep.")
        elif character in "]}":
            depth -= 1


def parse_json(text: str, error: type[ProxylessHwError], what: str) -> Any:
    """Parses JSON; NaN and Infinity are refused.

    Raises:
        ProxylessHwError: (as `error`) with line and column.
    """

    def refuse(constant: str) -> NoReturn:
        raise error(f"{what} holds {constant}, which is not a JSON number.")

    check_depth(text, error, what)
    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as cause:
        raise error(
            f"{what} is not JSON: {cause.msg} at line {cause.lineno}, column {cause.colno}."
        ) from cause
    except (RecursionError, ValueError) as cause:
        raise error(f"{what} is not JSON that can be read: {cause}.") from cause


def parse_yaml(text: str, error: type[ProxylessHwError], what: str) -> Any:
    """Parses YAML with the safe loader; tags are never executed, aliases are refused.

    Raises:
        ProxylessHwError: (as `error`) with the line where parsing stopped.
    """
    check_depth(text, error, what)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=SAFE_LOADER):
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                line = "" if mark is None else f" (line {mark.line + 1})"
                raise error(f"{what} uses a YAML alias{line}; write it out.")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise error(f"{what} is nested more than {MAX_DEPTH} deep.")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        loader = SAFE_LOADER(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = getattr(cause, "problem", None) or str(cause).splitlines()[0]
        raise error(f"{what} is not valid YAML{where}: {reason}.") from cause
    except (RecursionError, ValueError) as cause:
        raise error(f"{what} is not YAML that can be read: {cause}.") from cause
