"""The message for ops that a table lacks."""

from __future__ import annotations

from proxyless_hw.space.specs import OpSpec


def missing_message(missing: list[OpSpec], name: str) -> str:
    """The message for ops that a table lacks: all of them, and the next step."""
    if len(missing) == 1:
        return (
            f"no entry for {missing[0]} in '{name}'. "
            f"Profile it: proxyless-hw profile ... --missing-from {name}"
        )
    listed = "\n".join(f"  {op}" for op in missing)
    return (
        f"no entry for {len(missing)} ops in '{name}':\n{listed}\n"
        f"Profile them: proxyless-hw profile ... --missing-from {name}"
    )
