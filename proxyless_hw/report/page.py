"""What a page is made of: cards, figures, tables, sections; and how values are written in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from markupsafe import Markup

from proxyless_hw.report.run_data import Verdict

DASH: Final = "–"


@dataclass(frozen=True, kw_only=True)
class Card:
    """One figure at the top of the page."""

    name: str
    value: str
    note: str = ""
    badge: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture and what to say under it."""

    svg: Markup
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text; columns in `numeric` are set to the right, row `best` stands out."""

    head: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]]
    numeric: frozenset[int] = frozenset()
    title: str = ""
    best: int | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page. `wide` figures scroll sideways; `frames` feed the scrubber."""

    id: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    code: str = ""
    note: str = ""
    wide: bool = False
    frames: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything about one run."""

    id: str
    name: str
    cards: list[Card]
    sections: list[Section]
    absent: list[str]


def amount(value: float | None, unit: str) -> str:
    """A value with its unit for a table cell; a dash where there is none."""
    return DASH if value is None else f"{value:.4g} {unit}"


def percent(value: float | None) -> str:
    """A fraction as a percentage; a dash where there is none."""
    return DASH if value is None else f"{value:.1%}"
