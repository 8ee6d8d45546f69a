"""Hypothesis strategies: mutations of valid files, and files put together from a form's words."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from fuzz_samples import texts
from hypothesis import strategies as st

HOSTILE: Final[list[Any]] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 2**31, 2**63, 10**40, -(10**40), 10**4000),
    *(0.5, 1.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "relu6", "conv", "mbconv", "skip", "custom", "x" * 300, "\x00", "\ud800", "é"),
    *("../../etc/passwd", "<script>", "$(touch x)", "1", "1e5", "nan", [], {}, [[]], {"": None}),
    *([None], [1] * 300, {"op": "mbconv"}, {"op": "classifier"}),
]
"""Values that a field rarely expects."""

WORDS: Final[list[str]] = [
    *("\n", "\n\n", " ", "\t", ",", ":", ": ", "- ", "#", "# ", '"', "'", "\\", "/", "=", "_"),
    *("[", "]", "{", "}", "[" * 70, "{" * 70, "- " * 70, "&a ", "*a", "<<: ", "? ", "| ", "> "),
    *(
        "!!int ''",
        "!!bool x",
        "!!float x",
        "!!timestamp x",
        "!!binary é",
        "!!python/name:os.system",
    ),
    *("!!python/object/apply:os.system [touch x]", "%YAML 9.9\n", "---\n", "...\n", "~", "null"),
    *("0", "-1", "1e999", "-1e999", "nan", "inf", ".inf", ".nan", "1_000", "0x" + "f" * 5000),
    *("9" * 5000, "1:" * 300 + "1.5", "1:" * 3000 + "1", "0b_", "0o7", "2001-99-99", "2001-01-01"),
    *(
        "000000000000000000009",
        "4e0",
        "٣",
        "²",
        "\x00",
        "\x85",
        "\u2028",
        "\ufeff",
        "\r",
        "\x1b[2J",
    ),
    *(
        "true",
        "false",
        "op",
        "conv",
        "mbconv",
        "skip",
        "act",
        "relu6",
        "kernel",
        "stride",
        "expand",
    ),
    *("count=", "count=0", "avg=", "min=", "median=", "curr=12(all same)", "INFO: ", "Inference"),
    *("Inference timings in us: ", "@proxyless-hw begin 0\n", "@proxyless-hw end 0 0\n"),
    *(
        "ds_r1_k3_s1_c16 ",
        "ir_r1_k3_s1_e6_c24 ",
        "_r",
        "_k",
        "_s",
        "_e",
        "_c",
        "_se0.25",
        "_noskip",
    ),
    *("# stem: ", "# act: ", "# bn_eps: ", "schema: proxyless-hw-table/1", "x" * 3000),
]
"""Words of all the forms, and what parsers trip over."""

SAMPLES: Final = texts()
JSON_FORMS: Final = frozenset(("architecture", "net_config", "bundle"))
YAML_FORMS: Final = frozenset(("space", "search_config", "train_config", "published_table"))
_PLACE: Final = st.integers(0, 10**6)

Edit = tuple[int, str, Any]
Splice = tuple[int, int, str]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def edited(document: Any, edits: list[Edit]) -> Any:
    """A copy with values replaced, removed, moved, doubled or wrapped."""
    document = copy.deepcopy(document)
    for place, action, value in edits:
        found = list(places(document)) if isinstance(document, dict | list) and document else []
        if not found:
            break
        container, key = found[place % len(found)]
        match action:
            case "replace":
                container[key] = copy.deepcopy(value)
            case "remove":
                del container[key]
            case "swap":
                other, name = found[(place // 7) % len(found)]
                container[key], other[name] = (
                    copy.deepcopy(other[name]),
                    copy.deepcopy(container[key]),
                )
            case "double" if isinstance(container, list):
                container.insert(key, copy.deepcopy(container[key]))
            case "double":
                container[f"{key}2"] = container[key]
            case "rename" if isinstance(container, dict):
                container[str(value)] = container.pop(key)
            case "nest":
                for _ in range(70 if value is None else 2):
                    container[key] = [container[key]]
            case _:
                container[key] = [container[key]] * 40
    return document


def spliced(text: str, splices: list[Splice]) -> str:
    """A copy in which pieces of the text are cut out and words put in their place."""
    for place, length, word in splices:
        start = place % (len(text) + 1)
        text = text[:start] + word + text[start + length :]
    return text


def dumped(document: Any) -> str:
    """JSON, which YAML's reader takes too; numbers too long for a text are left as they are."""
    return json.dumps(document)


EDITS: Final[st.SearchStrategy[list[Edit]]] = st.lists(
    st.tuples(
        _PLACE,
        st.sampled_from(
            ("replace", "replace", "remove", "swap", "double", "rename", "nest", "many")
        ),
        st.sampled_from(HOSTILE),
    ),
    min_size=1,
    max_size=3,
)
SPLICES: Final[st.SearchStrategy[list[Splice]]] = st.lists(
    st.tuples(
        _PLACE,
        st.sampled_from((0, 0, 1, 2, 8, 40, 4000)),
        st.sampled_from(WORDS) | st.text(max_size=4),
    ),
    min_size=1,
    max_size=4,
)


def files(name: str) -> st.SearchStrategy[bytes]:
    """Files of a form: edited documents, spliced texts, and words at random."""
    ways: list[st.SearchStrategy[str]] = [
        st.builds(spliced, st.sampled_from(SAMPLES[name]), SPLICES),
        st.builds(" ".join, st.lists(st.sampled_from(WORDS), max_size=12)),
        st.builds("\n".join, st.lists(_lines(SAMPLES[name]), max_size=12)),
    ]
    documents = _documents(name)
    if documents:
        edits = st.builds(dumped, st.builds(edited, st.sampled_from(documents), EDITS))
        ways = [edits, edits, *ways]
    encoded = st.one_of(ways).map(lambda text: text.encode("utf-8", errors="surrogatepass"))
    broken = st.builds(_with_bytes, encoded, _PLACE, st.binary(min_size=1, max_size=4))
    return st.one_of(encoded, encoded, encoded, broken)


def _lines(samples: list[str]) -> st.SearchStrategy[str]:
    """Single lines of the samples, as they are or with a word put in."""
    lines = [line for sample in samples for line in sample.splitlines()[:200]]
    return st.builds(spliced, st.sampled_from(lines), SPLICES) | st.sampled_from(lines)


def _documents(name: str) -> list[Any]:
    import yaml

    read: Callable[[str], Any] | None = None
    if name in JSON_FORMS:
        read = json.loads
    elif name in YAML_FORMS:
        read = yaml.safe_load
    return [] if read is None else [read(text) for text in SAMPLES[name]]


def _with_bytes(content: bytes, place: int, extra: bytes) -> bytes:
    start = place % (len(content) + 1)
    return content[:start] + extra + content[start + len(extra) :]
