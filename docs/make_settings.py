"""Writes docs/settings.md from the declarations of the settings.

python docs/make_settings.py
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.runs.settings import DECLARATION, Settings
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.train.config import TrainConfig

PAGE = Path(__file__).with_name("settings.md")
HEAD = """\
# Settings of a search, a training and `specialize`

Made by `python docs/make_settings.py` from the fields of `SearchConfig`, `TrainConfig` and
`SpecializeConfig`. A setting without an option stands in a YAML file for `--config`; names there
have underscores. `--preset` gives other defaults. `specialize` has options only.
"""


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    shown: tuple[tuple[str, type[Settings]], ...] = (
        ("`search`", SearchConfig),
        ("`train`", TrainConfig),
        ("`specialize`", SpecializeConfig),
    )
    for title, config in shown:
        parts.append(
            f"## {title}\n\n| setting | option | default | what | rule |\n|---|---|---|---|---|"
        )
        parts[-1] += "".join(f"\n{row}" for row in rows(config)) + "\n"
    return "\n".join(parts)


def rows(config: type[Settings]) -> list[str]:
    """One line of the table per setting."""
    hints = get_type_hints(config)
    found = []
    for item in sorted(fields(config), key=lambda item: item.name):
        said = item.metadata[DECLARATION]
        flag = (
            f"`--{item.name.replace('_', '-')}`" if said.option else OWN_OPTION.get(item.name, "")
        )
        default = "" if item.default is MISSING else f"`{plain(item.default)}`"
        cells = (f"`{item.name}`", flag, default, said.help.replace("|", "\\|"))
        found.append(f"| {' | '.join(cells)} | {rule(hints[item.name], said)} |")
    return found


OWN_OPTION = {
    "arch": "ARCH",
    "constraints": "`--constraint`, repeatable",
    "max_broken": "`--max-broken`",
}


def plain(value: Any) -> str:
    return "none" if value in (None, ()) else str(value)


def rule(hint: Any, said: Any) -> str:
    choices = [item for item in get_args(hint) if isinstance(item, str)]
    if choices:
        return ", ".join(f"`{item}`" for item in choices)
    bounded = (said.least, said.most, said.above, said.below) != (None,) * 4
    return said.rule if bounded else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
