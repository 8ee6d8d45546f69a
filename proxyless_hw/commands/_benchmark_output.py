"""What ``proxyless-hw benchmark`` prints for people."""

from __future__ import annotations

from typing import Any, Final

LONGEST_NAME: Final = 60
"""Characters of an op's name that are shown."""


def show(results: list[dict[str, Any]]) -> None:
    """The results side by side, the fastest one in bold."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")  # a long path takes several lines, numbers are whole
    table.add_column("runtime", no_wrap=True)
    unit = results[0]["unit"]
    for heading in (f"median {unit}", "95% interval", "p90", "file MB", "memory MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    least = min(result["median"] for result in results)
    for result in results:
        median = f"{result['median']:.4g}"
        table.add_row(
            escape(result["name"]),
            result.get("runtime", ""),
            f"[bold]{median}[/]" if result["median"] == least else median,
            f"{result['ci_low']:.4g} to {result['ci_high']:.4g}",
            f"{result['p90']:.4g}",
            *(
                f"{result[key]:.1f}" if key in result else ""
                for key in ("file_mb", "peak_memory_mb")
            ),
        )
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = max(console.width, 120)
    console.print(table)


def line(result: dict[str, Any]) -> str:
    """One result, with its nodes where they were timed."""
    unit = result["unit"]
    if result["ci_low"] == result["ci_high"]:
        nodes = "".join(f"\n{row}" for row in _node_lines(result.get("nodes", [])))
        return f"{_estimate(result)}; input {result['input_shape']}{nodes}"
    text = (
        f"{result['name']}: median {result['median']:.4g} {unit} "
        f"(95% interval {result['ci_low']:.4g} to {result['ci_high']:.4g}), "
        f"p90 {result['p90']:.4g} {unit}, {result['rounds']} visits, cache {result['cache']}"
    )
    if "machine_speed" in result:
        text += (
            f"; at the table's speed {result['table_speed_median']:.4g} {unit} "
            f"({result['table_speed_ci_low']:.4g} to {result['table_speed_ci_high']:.4g}), "
            f"the machine runs at {result['machine_speed']:.3f} of it"
        )
    elif result["device"] == "cpu":
        text += "; the interval is of this run, --table T compares hours and machines"
    text += f"; input {result['input_shape']}"
    if result["batch_size"] is not None:
        text += f" (batch {result['batch_size']})"
    if "peak_memory_mb" in result:
        text += f"; file {result['file_mb']:.1f} MB, peak memory {result['peak_memory_mb']:.1f} MB"
    if not result["converged"]:
        text += "; the interval is wider than the goal: close other programs, or give --budget"
    return text + "".join(f"\n{row}" for row in _node_lines(result.get("nodes", [])))


def _estimate(result: dict[str, Any]) -> str:
    return (
        f"{result['name']}: {result['median']:.4g} {result['unit']} by the compiler's estimate, "
        "the same each time"
    )


def _node_lines(nodes: list[dict[str, Any]]) -> list[str]:
    """A line per op: time, share, type, name."""
    width = max((len(node["op_type"]) for node in nodes), default=0)
    rows = []
    for node in nodes:
        ms = node["median_ms"] if "median_ms" in node else node["mean_ms"]
        name = node["name"]
        if len(name) > LONGEST_NAME:  # converters join the names of all modules; the end tells most
            name = f"...{name[-LONGEST_NAME:]}"
        inside = f" (in {node['inside']})" if node["inside"] else ""
        rows.append(
            f"  {ms:8.4f} ms {node['share']:6.1%}  {node['op_type']:{width}} {name}{inside}"
        )
    return rows
