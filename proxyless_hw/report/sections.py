"""What stands on the page of one run: cards, sections, and what is not there and why."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from markupsafe import Markup

from proxyless_hw.drawing.canvas import Canvas
from proxyless_hw.report.agreement import gap_sentence
from proxyless_hw.report.cards import cards
from proxyless_hw.report.exports import int8_ratio
from proxyless_hw.report.page import DASH, Figure, Page, Section, Table, amount, percent
from proxyless_hw.report.preferences import Preferences, preferences
from proxyless_hw.report.reproduce import reproduce
from proxyless_hw.report.run_data import RunData
from proxyless_hw.report.run_figures import alpha_frames, chosen_against_the_odds, run_figures
from proxyless_hw.search.result_rows import ResolutionResult
from proxyless_hw.tables.summary import summarise


def run_page(run: RunData, prefix: str = "run") -> Page:
    """Lays out what the run's data allows.

    Args:
        run: the run.
        prefix: starts the ids of its sections; unique on the page.

    Raises:
        ReportError: a value in a file has the wrong type.
    """
    canvases = run_figures(run)
    absent: list[str] = []
    makers = (
        _architecture(run, canvases, prefix),
        _search(run, canvases, prefix),
        _alpha(run, canvases, prefix),
        _costs(run, canvases, prefix),
        _front(run, canvases, prefix),
        _exports(run, prefix),
        _table(run, prefix),
        _provenance(run, prefix),
    )
    for name, there, how in _expected_parts(run, canvases):
        if not there:
            absent.append(f"{name}: {how}")
    return Page(
        id=prefix,
        name=run.name,
        cards=list(cards(run)),
        sections=[section for section in makers if section is not None],
        absent=absent,
    )


def _figures(canvases: Mapping[str, Canvas], **captions: str) -> list[Figure]:
    return [
        Figure(svg=Markup(canvases[name].svg()), caption=caption)
        for name, caption in captions.items()
        if name in canvases
    ]


def _architecture(run: RunData, canvases: Mapping[str, Canvas], prefix: str) -> Section | None:
    if run.arch is None:
        return None
    found = preferences(run.arch)
    return Section(
        id=f"{prefix}-architecture",
        title="Architecture",
        figures=_figures(canvases, architecture="Input on the left. Point at a block for more."),
        paragraphs=[] if found is None else found.sentences(),
        tables=[] if found is None else [preference_table(found)],
        wide=True,
    )


def preference_table(found: Preferences) -> Table:
    """Depth, mean kernel and mean expansion by stage."""
    rows = [
        (
            f"{stage.channels} at {stage.resolution}²",
            f"{stage.present} of {stage.positions}",
            f"{stage.kernel:.1f}",
            f"{stage.expand:.1f}",
        )
        for stage in found.stages
    ]
    rows.append(
        (
            "all",
            f"{found.depth} of {found.positions}",
            f"{found.kernel:.1f}",
            f"{found.expand:.1f}",
        )
    )
    return Table(
        title="Preferences by stage",
        head=("stage", "blocks", "mean kernel", "mean expansion"),
        rows=rows,
        numeric=frozenset((1, 2, 3)),
        best=len(rows) - 1,
    )


def _search(run: RunData, canvases: Mapping[str, Canvas], prefix: str) -> Section | None:
    captions = {
        name: "The mean over the path probabilities, and the dashed target."
        for name in canvases
        if name.startswith("expected")
    }
    captions.update(
        loss="" if run.kind == "train" else "Of one sampled path per step.",
        accuracy="",
        entropy="How undecided the slots are: it falls as the search makes up its mind.",
        multiplier="The price the constraint puts on cost.",
    )
    figures = _figures(canvases, **captions)
    if not figures:
        return None
    title = "Training" if run.kind == "train" else "Search"
    return Section(id=f"{prefix}-search", title=title, figures=figures)


def _alpha(run: RunData, canvases: Mapping[str, Canvas], prefix: str) -> Section | None:
    if "alpha" not in canvases:
        return None
    caption = (
        "A row per slot, from input to output. The stronger the colour, the more probable; "
        "framed: chosen at the end."
    )
    elsewhere = [str(slot + 1) for slot in chosen_against_the_odds(run)]
    if elsewhere:
        *others, last = elsewhere
        slots = f"slots {', '.join(others)} and {last}" if others else f"slot {last}"
        caption += (
            f" In {slots} the frame is not on the darkest cell: the network is chosen as a whole, "
            "the most probable one that meets the target, and there the most probable candidate "
            "did not fit."
        )
    return Section(
        id=f"{prefix}-alpha",
        title="Choices over time",
        figures=_figures(
            canvases,
            alpha=caption,
            margins="In points of probability: near 0 the slot could as well have gone the other "
            "way, and a longer search may choose again.",
        ),
        frames=alpha_frames(run),
    )


def _uncorrected(run: RunData) -> str:
    """How the table relates to what is called predicted."""
    if run.correction == 1:
        return ""
    return f" Predictions are sums of the table times {run.correction:.4g}, as measured."


def _costs(run: RunData, canvases: Mapping[str, Canvas], prefix: str) -> Section | None:
    figures = _figures(
        canvases,
        latency="Bars are intervals; the expectation is the search's, from the table.",
        agreement="On the dashed line both are equal.",
        breakdown="From the table, in network order." + _uncorrected(run),
    )
    limits = () if run.search is None else run.search.constraints
    if not figures:
        return None
    table = Table(
        title="Limits",
        head=("", "at most", "the network found"),
        rows=[
            (row.name, amount(row.target, row.unit), amount(row.predicted, row.unit))
            for row in limits
        ],
        numeric=frozenset((1, 2)),
    )
    return Section(
        id=f"{prefix}-latency",
        title=run.metric.capitalize(),
        figures=figures,
        tables=[table] if len(limits) > 1 else [],
    )


def _front(run: RunData, canvases: Mapping[str, Canvas], prefix: str) -> Section | None:
    figures = _figures(canvases, pareto="Each point is the exact optimum within its budget.")
    unit = run.cost_unit
    finalists = run.finalists
    if not figures and not finalists:
        return None
    rows = [
        (
            str(index + 1),
            amount(row.derived.costs[0] * run.correction, unit),
            percent(row.accuracy),
        )
        for index, row in enumerate(finalists)
    ]
    tables = [
        Table(
            title="Input resolutions",
            head=("", "training images", "predicted", "held-out accuracy"),
            rows=[_resolution(row, unit) for row in run.resolutions],
            numeric=frozenset((0, 1, 2, 3)),
        )
    ]
    table = Table(
        title="Finalists",
        head=("", "predicted", "held-out accuracy"),
        rows=rows,
        numeric=frozenset((1, 2)),
        best=0,
    )
    return Section(
        id=f"{prefix}-front",
        title="Other targets and finalists",
        figures=figures,
        paragraphs=[sentence] if (sentence := gap_sentence(run)) else [],
        tables=[item for item in (table, *tables) if item.rows],
        note="Accuracy with the supernet's weights; the first was taken.",
    )


def _resolution(row: ResolutionResult, unit: str) -> tuple[str, ...]:
    """One of the resolutions that competed; a dash where the target could not be reached."""
    training = DASH if row.train_resolution is None else row.train_resolution
    pixels = f"{row.resolution} px", f"{training} px"
    return (*pixels, amount(row.predicted, unit), percent(row.supernet_accuracy))


def _exports(run: RunData, prefix: str) -> Section | None:
    rows = [file.cells() for file in run.exports or ()]
    if not rows:
        return None
    ratio = int8_ratio(run.exports or ())
    return Section(
        id=f"{prefix}-exports",
        title="Exported files",
        paragraphs=[] if ratio is None else [f"int8 takes {ratio:.2f} times as long as fp32 here."],
        tables=[
            Table(
                head=(
                    *("file", "size", "max difference", "top-1 agrees"),
                    *("accuracy before", "after", "latency"),
                ),
                rows=rows,
                numeric=frozenset((1, 2, 3, 4, 5, 6)),
            )
        ],
        note="Each file was run and compared with torch; differences in standard deviations of "
        "the network's outputs.",
    )


def _table(run: RunData, prefix: str) -> Section | None:
    header = dict(run.config.table_header)
    rows = []
    if run.table is not None:
        header = dict(run.table.metadata)
        summary = summarise(run.table)
        rows = [
            ("ops", str(summary.rows)),
            ("median half-width", percent(summary.median_half_width)),
            ("half-width at most 2%", percent(summary.within_2)),
        ]
        if summary.least_rounds is not None:
            rows.append(("rounds", f"{summary.least_rounds} to {summary.most_rounds}"))
    rows += [(key, value) for key, value in header.items() if key != "schema"]
    if not rows:
        return None
    name = str(run.settings.get("table", "the table"))
    return Section(
        id=f"{prefix}-table",
        title=f"{header.get('metric', 'latency').partition(' ')[0].capitalize()} table",
        paragraphs=[f"Costs of ops come from {name}."],
        tables=[Table(rows=[(str(key), str(value)) for key, value in rows])],
        note="Half-widths are those of the 95% intervals." if run.table else "",
    )


def _provenance(run: RunData, prefix: str) -> Section | None:
    if not run.settings:
        return None
    rows = [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in run.settings.items()
        if value is not None and value != []
    ]
    return Section(
        id=f"{prefix}-provenance",
        title="How to reproduce",
        code=reproduce(run),
        tables=[Table(title="Settings", rows=rows)],
    )


def _expected_parts(
    run: RunData, canvases: Mapping[str, Canvas]
) -> Iterator[tuple[str, bool, str]]:
    """What a full page has: name, whether it is there, and how to get it."""
    folder = shlex.quote(str(run.path))
    finish = f"finish the search: proxyless-hw search --output {folder} --resume"
    yield "Architecture", run.arch is not None, finish
    exported = run.exports is not None
    yield "Exported files", exported, f"proxyless-hw export {folder} --all"
    if run.kind != "search":
        return
    yield "Search curves", "expected" in canvases, "the run has no metrics.jsonl; search with it"
    yield "Choices over time", "alpha" in canvases, "metrics.jsonl holds no path probabilities"
    measured = run.measured is not None
    yield f"Measured {run.metric}", measured, "search with --verify on the table's device"
    problem = run.table_problem or "the table lacks ops of this network"
    yield f"{run.metric.capitalize()} by block", "breakdown" in canvases, problem
    yield "Pareto front", "pareto" in canvases, finish
