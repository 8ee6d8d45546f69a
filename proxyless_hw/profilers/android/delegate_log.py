"""Reads what the output of TFLite's and LiteRT's tools says about delegates.

`delegates` judges what is read here against what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

DelegateUse = Literal["whole", "partial", "unused", "refused", "unmentioned", "other"]

MAX_LINE: Final = 2000

_REPLACING = re.compile(
    r"Replacing (\d{1,9})(?: out of (\d{1,9}))? node\(s\) with delegate \(([^)]{1,80})\)"
    r"(?: node, yielding (\d{1,9}) partitions(?: for ([\w ]{1,40}))?)?"
)
_APPLIED = re.compile(
    r"[Aa]pplied (.{1,60}?) delegate, and the model graph will be (completely|partially) executed"
)
_UNUSED = re.compile(
    r"Though (.{1,60}?) delegate is explicitly applied, the model graph will not be"
)
_CREATED = re.compile(
    r"Created TensorFlow Lite (?:(\w{1,40}) delegate for CPU|delegate for (\w{1,40}))"
)
_CPU_ACCELERATOR = re.compile(r"\bCPU accelerator registered")
_REFUSED = re.compile(
    r"Failed to apply (?:the default )?\S+ delegate|acceleration is unsupported on this platform"
    r"|Can't (?:create|apply) \S+ delegate|Disallowed CPU fallback detected"
    r"|Failed to (?:get or )?create (?:the )?(?:delegate|accelerator)"
)
FAILED_DISPATCH = re.compile(r"(?i)dispatch.*\b(?:fail|error|unable)|\bfail\w*\b.*dispatch")
NOT_LOADED = re.compile(r"(\w{1,20}) accelerator could not be (?:\w+ )?loaded and registered")
_UNKNOWN_FLAGS = "Unconsumed cmdline flags: "


@dataclass(frozen=True, slots=True)
class Placement:
    """Which delegate ran how many of a model's nodes; the CPU's own kernels ran the rest.

    Attributes:
        nodes: delegate's name and the number of nodes it replaced, in the order it came.
        total: nodes of the model; None where the log does not say.
    """

    nodes: tuple[tuple[str, int], ...]
    total: int | None

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        parts = [f"{name} {count}{of} nodes" for name, count in self.nodes if count]
        if self.total is not None and (rest := self.total - self.replaced) > 0:
            parts.append(f"CPU {rest}{of} nodes")
        return ", ".join(parts) or "CPU"

    @property
    def replaced(self) -> int:
        """Nodes that some delegate runs."""
        return sum(count for _, count in self.nodes)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the output of one run says about delegates.

    Attributes:
        placement: nodes by delegate; None where no line counts them.
        applied: delegates that were applied, with how much of the model each runs.
        created: delegates that were created.
        cpu_accelerator: LiteRT 2.x's accelerator for the CPU, which is XNNPACK, was registered.
        refusals: lines that say a delegate was refused.
        unknown_flags: flags that the tool did not know.
    """

    placement: Placement | None
    applied: tuple[tuple[str, DelegateUse], ...]
    created: tuple[str, ...]
    cpu_accelerator: bool
    refusals: tuple[str, ...]
    unknown_flags: tuple[str, ...]

    def kinds(self) -> str:
        """What ran the model without numbers of nodes, which differ from model to model."""
        if self.placement is None:
            return self.names()
        ran = [name for name, count in self.placement.nodes if count]
        if self.placement.total is None or self.placement.replaced < self.placement.total:
            ran.append("CPU")
        return " and ".join(ran)

    def names(self) -> str:
        """Names what ran the model, for people; empty if the log does not say."""
        if self.placement is not None:
            return str(self.placement)
        ran = [f"{name} ({use})" for name, use in self.applied if use != "unused"]
        if not ran:
            ran = [f"{name}, nodes not stated" for name in self.created]
        if not ran and self.cpu_accelerator:
            ran = ["XNNPACK, nodes not stated"]
        return ", ".join(dict.fromkeys(ran))


def read_evidence(text: str, runtime_info: Placement | None = None) -> Evidence:
    """Reads what a run's output says about delegates.

    Args:
        text: what the tool printed.
        runtime_info: the placement that the tool wrote to its runtime-info file; it counts more
            than the log.
    """
    lines = whole_lines(text)
    applied: list[tuple[str, DelegateUse]] = []
    for line in lines:
        if match := _APPLIED.search(line):
            applied.append((match[1], "whole" if match[2] == "completely" else "partial"))
        elif match := _UNUSED.search(line):
            applied.append((match[1], "unused"))
    created = [match[1] or match[2] for line in lines if (match := _CREATED.search(line))]
    unknown = [
        flag
        for line in lines
        for flag in line.partition(_UNKNOWN_FLAGS)[2].split()
        if flag.startswith("-")
    ]
    return Evidence(
        placement=runtime_info or _placement(lines),
        applied=tuple(applied),
        created=tuple(dict.fromkeys(created)),
        cpu_accelerator=any(_CPU_ACCELERATOR.search(line) for line in lines),
        refusals=tuple(line.strip()[:200] for line in lines if _is_refusal(line)),
        unknown_flags=tuple(dict.fromkeys(unknown)),
    )


def _is_refusal(line: str) -> bool:
    return bool(_REFUSED.search(line) or FAILED_DISPATCH.search(line) or NOT_LOADED.search(line))


def whole_lines(text: str) -> list[str]:
    """The lines of an output; a last one without its line feed was cut off and is left out."""
    complete, _, _ = text.replace("\r", "").rpartition("\n")
    return [line[:MAX_LINE] for line in complete.split("\n")]


def _placement(lines: Sequence[str]) -> Placement | None:
    """Adds up the replacements of all graphs; a graph's first line counts all of its nodes."""
    seen: set[tuple[str, ...]] = set()
    totals: dict[str, int | None] = {}
    nodes: dict[str, int] = {}
    for match in filter(None, map(_REPLACING.search, lines)):
        count, total, name, partitions, graph = match.groups()
        if match.groups() in seen:
            continue  # the same model, loaded again
        seen.add(match.groups())
        whole = int(total) if total else int(count) if partitions == "1" else None
        label = graph or ""
        totals[label] = _larger(totals[label], whole) if label in totals else whole
        nodes[name] = nodes.get(name, 0) + int(count)
    if not seen:
        return None
    known = [total for total in totals.values() if total is not None]
    return Placement(tuple(nodes.items()), sum(known) if len(known) == len(totals) else None)


def _larger(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else max(first, second)
