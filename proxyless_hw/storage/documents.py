"""Bounded, safe reading of small YAML and JSON documents that a user hands over."""

from __future__ import annotations

import codecs
import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import yaml

from proxyless_hw.errors import ProxylessHwError

JsonObject: TypeAlias = dict[str, object]
"""A JSON object in memory: to be written, or read and not yet checked."""

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
_WORDS = {"None": "null", "True": "true", "False": "false"}
MAX_NODES = 1_000_000
MAX_NUMBER = 64
"""Characters of a number. Longer ones can need quadratic time to read, and cannot be shown."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

# libyaml's safe loader where PyYAML was built with it: the same rules, several times as fast.
_FASTEST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BoundedLoader(_FASTEST):  # type: ignore[misc]
    """PyYAML's safe loader with numbers of bounded length."""

    def bounded_int(self, node: yaml.ScalarNode) -> Any:
        """A whole number; YAML's base 60 and base 16 ones are bounded too."""
        _check_number(node)
        return yaml.constructor.SafeConstructor.construct_yaml_int(self, node)

    def bounded_float(self, node: yaml.ScalarNode) -> Any:
        """A floating-point number."""
        _check_number(node)
        return yaml.constructor.SafeConstructor.construct_yaml_float(self, node)


BoundedLoader.add_constructor("tag:yaml.org,2002:int", BoundedLoader.bounded_int)
BoundedLoader.add_constructor("tag:yaml.org,2002:float", BoundedLoader.bounded_float)


def _check_number(node: yaml.ScalarNode) -> None:
    if len(node.value) > MAX_NUMBER:
        raise yaml.constructor.ConstructorError(
            problem=f"a number has at most {MAX_NUMBER} characters", problem_mark=node.start_mark
        )


def encoding_of(start: bytes) -> str:
    """UTF-8, or UTF-16 where a text begins with its byte-order mark or with two Latin characters.

    Spreadsheets and Windows' editors put such a mark first, also before UTF-8.
    """
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [byte == 0 for byte in start[:4]]  # the other half of a character below 256
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8-sig"


def read_text(path: Path, error: type[ProxylessHwError], what: str) -> str:
    """Reads a text file of at most 16 MiB: UTF-8, or UTF-16 (`encoding_of`).

    Raises:
        ProxylessHwError: (as `error`) absent, unreadable, too large, or of another encoding.
    """
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise error(f"{what} must be a file: {path} is a folder.")
        if size > MAX_BYTES:
            raise error(
                f"{what} may have at most {MAX_BYTES >> 20} MiB: {path} has {size / 2**20:.0f} MiB."
            )
        content = path.read_bytes()
        text = content.decode(encoding_of(content))
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except OSError as cause:
        raise error(f"cannot read {what} {path}: {cause.strerror or cause}.") from cause
    except UnicodeDecodeError as cause:
        raise error(
            f"{what} {path} is not UTF-8 text (byte {cause.start}), nor UTF-16. Save it as UTF-8."
        ) from cause
    except ValueError as cause:  # a path with a null byte or half a surrogate pair
        raise error(f"cannot read {what} {str(path)[:200]!r}: {cause}.") from cause


def json_of(printed: str) -> str:
    """What Python prints of texts, numbers, lists, tuples and dicts, as JSON; JSON stays as it is.

    Only where no text holds a quotation mark of either kind; the parser refuses the rest.
    """
    if "'" not in printed or '"' in printed:
        return printed
    as_json = printed.replace("'", '"').replace("(", "[").replace(")", "]")
    as_json = re.sub(r",(?=\s*\])", "", as_json)
    return re.sub(r"\b(?:None|True|False)\b", lambda match: _WORDS[match[0]], as_json)


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
    """Parses JSON; NaN, Infinity and what is too long or too large to be shown are refused.

    Raises:
        ProxylessHwError: (as `error`) with line and column.
    """

    def refuse(constant: str) -> NoReturn:
        raise error(f"{what} holds {constant}, which is not a JSON number.")

    def whole(digits: str) -> int:
        if len(digits) > MAX_NUMBER:
            raise error(f"{what} holds a number of more than {MAX_NUMBER} characters.")
        return int(digits)

    def real(digits: str) -> float:
        number = float(digits) if len(digits) <= MAX_NUMBER else math.inf
        if not math.isfinite(number):
            raise error(f"{what} holds {digits[:40]}, which no floating-point number can hold.")
        return number

    check_depth(text, error, what)
    try:
        document = json.loads(text, parse_constant=refuse, parse_int=whole, parse_float=real)
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except UnicodeEncodeError as cause:
        raise error(f"{what} holds half a surrogate pair, which is not a character.") from cause
    except json.JSONDecodeError as cause:
        raise error(
            f"{what} is not JSON: {cause.msg} at line {cause.lineno}, column {cause.colno}."
        ) from cause
    except (RecursionError, ValueError) as cause:
        raise error(f"{what} is not JSON that can be read: {cause}.") from cause


def parse_yaml(text: str, error: type[ProxylessHwError], what: str) -> Any:
    """Parses YAML with the safe loader; tags and aliases are refused.

    Raises:
        ProxylessHwError: (as `error`) with the line where parsing stopped.
    """
    check_depth(text, error, what)
    try:
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=BoundedLoader)):
            if number > MAX_NODES:
                raise error(f"{what} holds more than {MAX_NODES:,} values.")
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                line = "" if mark is None else f" (line {mark.line + 1})"
                raise error(f"{what} uses a YAML alias{line}; write it out.")
            tag = getattr(event, "tag", None)
            if tag is not None:
                mark = event.start_mark
                line = "" if mark is None else f" at line {mark.line + 1}"
                raise error(
                    f"{what} is not valid YAML{line}: the tag {tag[:60]!r} is not read. Write "
                    "plain values."
                )
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise error(f"{what} is nested more than {MAX_DEPTH} deep.")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        loader = BoundedLoader(text)
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
