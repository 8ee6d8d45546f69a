"""``stages.json``: what each stage of a folder was made of.

A stage is made again when that has changed, or when a stage that it needs is made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from proxyless_hw.errors import SearchError
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import write_text_atomically

RECORD: Final = "stages.json"
SCHEMA: Final = "proxyless-hw-stages/1"

MadeOf = Mapping[str, str | int | float | bool | None]
"""What a stage is made of: names of settings to values, files by their hash.

A value that names a file or data set may be spelled in several ways. Where ``content of the NAME``
stands beside NAME, the content decides whether it has changed.
"""

CONTENT: Final = "content of the "


@dataclass(frozen=True)
class Stage:
    """One stage of a folder.

    Attributes:
        name: as in stages.json.
        needs: stages before it that it is made from.
        files: patterns of what it leaves in the folder.
    """

    name: str
    needs: tuple[str, ...]
    files: tuple[str, ...]


@dataclass
class StageRecord:
    """The record of one folder, written with every change.

    Attributes:
        folder: the folder.
        stages: name to ``made_of``, ``done`` and ``seconds`` (time that it has taken).
    """

    folder: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path) -> StageRecord:
        """Reads the record of a folder; that of a new or empty folder is empty.

        Raises:
            SearchError: the folder holds something else, or the record is malformed.
        """
        path = folder / RECORD
        if not path.exists():
            held = [item.name for item in folder.iterdir()] if folder.is_dir() else []
            foreign = sorted(name for name in held if not name.startswith("."))
            if foreign or (folder.exists() and not folder.is_dir()):
                what = f"'{foreign[0]}' in it" if foreign else "a file of that name"
                raise SearchError(
                    f"--output is a new folder, or one that specialize has made: {folder} has no "
                    f"{RECORD}, and there is {what}. Choose another --output."
                )
            return cls(folder)
        document = parse_json(read_text(path, SearchError, RECORD), SearchError, str(path))
        stages = document.get("stages") if isinstance(document, dict) else None
        if not isinstance(stages, dict) or document.get("schema") != SCHEMA:
            raise SearchError(f"{path} must have the schema '{SCHEMA}' and a mapping 'stages'.")
        for name, stage in stages.items():
            _check(path, str(name), stage)
        return cls(folder, stages)

    @property
    def spent_s(self) -> float:
        """Seconds that stages took, interrupted ones included; after a kill they are not known."""
        return sum(float(stage["seconds"]) for stage in self.stages.values())

    def is_done(self, name: str) -> bool:
        """Whether a stage has left all it leaves."""
        return bool(self.stages.get(name, {}).get("done"))

    def begin(self, name: str, made_of: MadeOf) -> None:
        """Notes what a stage is being made of, before it leaves anything."""
        before = float(self.stages.get(name, {}).get("seconds", 0.0))
        self.stages[name] = {"made_of": dict(made_of), "done": False, "seconds": before}
        self._write()

    def spend(self, name: str, seconds: float) -> None:
        """Adds to the time that a stage took."""
        stage = self.stages[name]
        stage["seconds"] = round(float(stage["seconds"]) + seconds, 2)
        self._write()

    def finish(self, name: str) -> None:
        """Notes that a stage is done."""
        self.stages[name]["done"] = True
        self._write()

    def note(self, name: str, text: str) -> None:
        """Keeps a text with a stage that has begun."""
        self.stages[name]["note"] = text
        self._write()

    def note_of(self, name: str) -> str | None:
        """The text that was kept with a stage."""
        text = self.stages.get(name, {}).get("note")
        return None if text is None else str(text)

    def drop_changed(
        self, plan: Sequence[tuple[Stage, MadeOf]], say: Callable[[str], None]
    ) -> None:
        """Removes what was made of something else than now, and what was made from that.

        Args:
            plan: the stages in order, with what each is made of now.
            say: told which stages are made again, and why.

        Raises:
            SearchError: a file cannot be removed, or the record not be written.
        """
        stale: dict[str, list[str]] = {}
        for stage, made_of in plan:
            if stage.name not in self.stages:
                continue
            changes = _changes(self.stages[stage.name]["made_of"], made_of)
            if changes or any(name in stale for name in stage.needs):
                stale[stage.name] = changes
        if not stale:
            return
        why = "; ".join(change for changes in stale.values() for change in changes)
        say(f"changed since then: {why}. Made again: {', '.join(stale)}; the rest is kept.")
        # From the last to the first: what is left by a process killed here still has its needs.
        for stage, _ in reversed(plan):
            if stage.name in stale:
                self._remove(stage)

    def _remove(self, stage: Stage) -> None:
        for pattern in stage.files:
            for path in self.folder.glob(pattern):
                try:
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                except OSError as cause:
                    raise SearchError(
                        f"cannot remove {path}, which is to be made again: "
                        f"{cause.strerror or cause}."
                    ) from cause
        del self.stages[stage.name]
        self._write()

    def _write(self) -> None:
        document = {"schema": SCHEMA, "stages": self.stages}
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_text_atomically(self.folder / RECORD, text, SearchError)


def _changes(old: MadeOf, new: MadeOf) -> list[str]:
    """What differs, in words."""
    same = {
        name
        for name, value in new.items()
        if old.get(name) == value
        or (CONTENT + name in old and old[CONTENT + name] == new.get(CONTENT + name))
        # Written by a version that kept only the name.
        or (name.startswith(CONTENT) and name not in old)
    }
    return [
        f"{name} was {_shown(old.get(name))}, is {_shown(value)}"
        for name, value in new.items()
        if name not in same
    ]


def _shown(value: object) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check(path: Path, name: str, stage: object) -> None:
    sound = (
        isinstance(stage, dict)
        and isinstance(stage.get("made_of"), dict)
        and isinstance(stage.get("done"), bool)
        and type(stage.get("seconds")) in (int, float)
    )
    if not sound:
        raise SearchError(
            f"{path}: stage '{name[:40]}' must hold made_of, done and seconds. Delete the folder, "
            "or choose another --output."
        )
