"""Named colours of all figures, for light and dark paper."""

from __future__ import annotations

from typing import Final

LIGHT: Final = {
    "paper": "#ffffff",
    "panel": "#f6f7f9",
    "ink": "#1b2430",
    "muted": "#5c6773",
    "grid": "#d9dee4",
    "accent": "#2563c9",
    "second": "#b3540a",
    "third": "#2b7a4b",
    "target": "#b4232f",
    "fixed": "#c3cad3",
    "k3": "#7db3ea",
    "k5": "#f0b354",
    "k7": "#dd6b72",
    "kx": "#a595cf",
    "on-block": "#1b2430",
}
DARK: Final = {
    "paper": "#12161c",
    "panel": "#1a2028",
    "ink": "#e6eaf0",
    "muted": "#9aa5b1",
    "grid": "#303945",
    "accent": "#77aaf5",
    "second": "#ee9d54",
    "third": "#6cc592",
    "target": "#ff7f86",
    "fixed": "#4a5563",
    "k3": "#5b95d3",
    "k5": "#d99b39",
    "k7": "#cd5a63",
    "kx": "#8877bb",
    "on-block": "#0e1217",
}


def kernel_colour(kernel: int) -> str:
    """Name of the colour that stands for a kernel size."""
    return f"k{kernel}" if kernel in (3, 5, 7) else "kx"


def css_variables() -> str:
    """The colours as CSS custom properties, dark ones where the reader prefers them.

    Printed pages are light whatever the screen is.
    """
    light = "".join(f"--{name}:{value};" for name, value in LIGHT.items())
    dark = "".join(f"--{name}:{value};" for name, value in DARK.items())
    return (
        f":root{{color-scheme:light dark;{light}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
    )


def css_classes() -> str:
    """``.f-NAME`` fills and ``.s-NAME`` strokes with a named colour."""
    return "".join(
        f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in LIGHT
    )
