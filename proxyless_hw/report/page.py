"""What a page is made of: cards, figures, tables, sections; and how values are written in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup

from proxyless_hw.predictors.verdict import Verdict
from proxyless_hw.storage.documents import JsonObject

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


@dataclass(frozen=True, slots=True)
class Frame:
    """A moment of a heat map: its name and path probabilities, slots by candidates."""

    name: str
    alpha: Sequence[Sequence[float | None]]

    def to_json(self) -> JsonObject:
        """The object that the page's script reads."""
        return {"name": self.name, "alpha": self.alpha}


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
    frames: list[Frame] = field(default_factory=list)

    def frame_data(self) -> list[JsonObject]:
        """The frames as the page's script reads them."""
        return [frame.to_json() for frame in self.frames]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything about one run."""

    id: str
    name: str
    cards: list[Card]
    sections: list[Section]
    absent: list[str]


def amount(value: float | None, unit: str) -> str:
    """A value with its unit for a table cell; a dash for None."""
    return DASH if value is None else f"{value:.4g} {unit}"


def percent(value: float | None) -> str:
    """A fraction as a percentage; a dash for None."""
    return DASH if value is None else f"{value:.1%}"
