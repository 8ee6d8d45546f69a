"""The published look-up tables of ProxylessNAS and Once-for-All, as YAML or JSON.

One mapping per op, under a key that spells the op out:

    expanded_conv-input:56x56x24-output:28x28x40-expand:3-kernel:5-stride:2-idskip:0:
      {count: 157, mean: 3.2, var: 0.05}

Once-for-All's keys end in ``-se:S-hs:H``, their ``expand`` is the expanded width in channels, and
``std`` stands in place of ``var``. Times are milliseconds; ``mean`` is what both projects add up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from proxyless_hw.errors import TableError
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_RESOLUTION
from proxyless_hw.space.specs import LayerSpec, OpSpec
from proxyless_hw.storage.documents import BoundedLoader, parse_yaml
from proxyless_hw.storage.fields import Fields
from proxyless_hw.tables.csv_format import MAX_VALUE
from proxyless_hw.tables.intervals import t_quantile
from proxyless_hw.tables.table import Entry, LatencyTable

_SHAPE = r"(\d{1,5})x(\d{1,5})x(\d{1,5})"
_BLOCK = re.compile(
    rf"expanded_conv-input:{_SHAPE}-output:{_SHAPE}-expand:(\d{{1,6}})-kernel:(\d{{1,2}})"
    r"-stride:(\d{1,2})-idskip:([01])(?:-se:([01])-hs:([01]))?"
)
_CONV = re.compile(rf"(Conv|Conv_1|Conv_2|AvgPool2D)-input:{_SHAPE}-output:{_SHAPE}")
_LOGITS = re.compile(rf"Logits-input:{_SHAPE}-output:(\d{{1,5}})")
_FIELDS: Final = ("count", "mean", "var", "std")
MAX_COUNT: Final = 10**12


def parse_published_yaml(text: str, source: str) -> LatencyTable:
    """As `published_table`, from YAML.

    Raises:
        TableError: a rule is broken; file, line, key and value are named.
    """
    document = parse_yaml(text, TableError, source)
    return published_table(document, source, _key_lines(text, source))


def published_table(
    document: object, source: str, lines: Mapping[str, int] | None = None
) -> LatencyTable:
    """Turns a parsed look-up table into ours; values and counts are kept exactly.

    The 95% interval is that of the mean, from the spread and the count (Student's t).

    Args:
        document: ops, each a key that spells it out, to measurements.
        source: the file, for messages.
        lines: key to line, where the file has lines that mean something.

    Raises:
        TableError: a rule is broken; file, line, key and value are named.
    """
    if not isinstance(document, dict) or not document:
        raise TableError(
            f"{source}: a published table maps ops to measurements: received "
            f"{type(document).__name__}. Example of a key: Conv-input:224x224x3-output:112x112x32"
        )
    once_for_all = any("-hs:" in str(key) for key in document)
    entries: dict[OpSpec, Entry] = {}
    for key, fields in document.items():
        where = f"{source}, line {lines[key]}" if lines else source
        op = _op(key, where, once_for_all)
        if op in entries:
            raise TableError(f"{where} repeats an op ({op}); each op stands once.")
        entries[op] = _entry(fields, f"{where} ({str(key)[:120]})")
    classes = {op.out_c for op in entries if op.op == "classifier"}
    metadata = {
        "metric": "latency",
        "unit": "ms",
        "statistic": "mean",
        **({"num_classes": str(min(classes))} if len(classes) == 1 else {}),
        "source": Path(source).name,
    }
    return LatencyTable(entries, metadata, source)


def _key_lines(text: str, source: str) -> dict[str, int]:
    """Line of every top-level key; a key that stands twice is refused, as YAML itself does not."""
    lines: dict[str, int] = {}
    node = yaml.compose(text, Loader=BoundedLoader)
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise TableError(f"{source}, line {line}: a key must spell an op out.")
        if key.value in lines:
            raise TableError(
                f"{source}, line {line} repeats the key of line {lines[key.value]} "
                f"({key.value[:120]}); each op stands once."
            )
        lines[key.value] = line
    return lines


def spells_an_op(key: object) -> bool:
    """Whether a key has the form of a published look-up table."""
    return isinstance(key, str) and "-input:" in key


def _op(key: str, where: str, once_for_all: bool) -> OpSpec:
    for pattern, build in ((_BLOCK, _block), (_CONV, _layer), (_LOGITS, _logits)):
        match = pattern.fullmatch(key)
        if match is not None:
            return build(match.groups(), where, once_for_all)
    raise TableError(
        f"{where}: no known op has the key {key[:160]!r}. Known: expanded_conv-..., Conv-..., "
        "Conv_1-..., Conv_2-..., AvgPool2D-..., Logits-..."
    )


def _block(groups: tuple[str, ...], where: str, once_for_all: bool) -> OpSpec:
    height, width, in_c, out_h, out_w, out_c = _sizes(groups[:6], where)
    expand, kernel, stride, skip = (int(group) for group in groups[6:10])
    has_flags = groups[10] is not None
    if has_flags != once_for_all:
        raise TableError(
            f"{where}: keys with and without se and hs stand in one file; expand means the ratio "
            "in one form and the expanded width in the other."
        )
    ratio: float = expand
    if has_flags:
        # Once-for-All writes the expanded width itself.
        ratio = expand // in_c if expand % in_c == 0 else expand / in_c
    if not 1 <= ratio <= 64 or not 1 <= kernel <= 31 or kernel % 2 == 0 or stride not in (1, 2):
        raise TableError(
            f"{where}: an expanded_conv has an odd kernel up to 31, stride 1 or 2 and an expansion "
            f"from 1 to 64: received kernel {kernel}, stride {stride}, expansion {ratio:g}."
        )
    layer = LayerSpec(
        "mbconv",
        in_c,
        out_c,
        kernel=kernel,
        stride=stride,
        expand=ratio,
        skip=skip == 1,
        act=("hswish" if groups[11] == "1" else "relu") if has_flags else "relu6",
        se=int(groups[10] or 0),
    )
    if layer.skip and (stride != 1 or in_c != out_c):
        raise TableError(f"{where}: idskip:1 needs stride 1 and equal channels.")
    return _checked(layer, (height, width), (out_h, out_w), where)


def _layer(groups: tuple[str, ...], where: str, once_for_all: bool) -> OpSpec:
    height, width, in_c, out_h, out_w, out_c = _sizes(groups[1:], where)
    act = "hswish" if once_for_all else "relu6"
    layers = {
        "Conv": LayerSpec("conv", in_c, out_c, kernel=3, stride=2, act=act),
        "Conv_1": LayerSpec("conv", in_c, out_c, act=act),
        "Conv_2": LayerSpec("conv_nobn", in_c, out_c, act=act),
        "AvgPool2D": LayerSpec("pool", in_c, out_c),
    }
    return _checked(layers[groups[0]], (height, width), (out_h, out_w), where)


def _logits(groups: tuple[str, ...], where: str, once_for_all: bool) -> OpSpec:
    height, width, in_c = _sizes(groups[:3], where)
    (classes,) = _sizes(groups[3:], where)
    return LayerSpec("classifier", in_c, classes).at(height, width)


def _sizes(groups: tuple[str, ...], where: str) -> list[int]:
    sizes = [int(group) for group in groups]
    for position, size in enumerate(sizes):
        limit = MAX_CHANNELS if position % 3 == 2 else max(MAX_RESOLUTION, MAX_CHANNELS)
        if not 1 <= size <= limit:
            raise TableError(f"{where}: a size lies between 1 and {limit}: received {size}.")
    return sizes


def _checked(
    layer: LayerSpec, size: tuple[int, int], output: tuple[int, int], where: str
) -> OpSpec:
    op = layer.at(*size)
    if (op.out_h, op.out_w) != output or (layer.op == "pool" and layer.in_c != layer.out_c):
        raise TableError(
            f"{where}: the output does not follow from the input: {op} expected, "
            f"{output[0]}x{output[1]}x{layer.out_c} received."
        )
    return op


def _entry(fields: object, where: str) -> Entry:
    row = Fields(fields, where, TableError)
    row.only(_FIELDS)
    mean = row.number("mean", 0, MAX_VALUE, above=True)
    count = row.whole("count", 1, MAX_COUNT)
    if ("var" in row) == ("std" in row):
        raise TableError(f"{where} must give var or std, one of the two.")
    if "var" in row:
        deviation = math.sqrt(row.number("var", 0, MAX_VALUE))
    else:
        deviation = row.number("std", 0, MAX_VALUE)
    if count < 2:
        return Entry(mean, samples=count)
    half = t_quantile(count - 1) * deviation / math.sqrt(count)
    return Entry(mean, ci_low=max(0.0, mean - half), ci_high=mean + half, samples=count)
