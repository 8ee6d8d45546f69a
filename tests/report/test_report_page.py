"""The HTML report: complete, self-contained, lenient with absent files, strict with bad ones."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_run import write_exports, write_run, write_table

from proxyless_hw.errors import ReportError
from proxyless_hw.report.report import write_report
from proxyless_hw.report.run_data import read_run

SECTIONS = (
    "Architecture",
    "Search",
    "Choices over time",
    "Latency",
    "Other targets and finalists",
    "Exported files",
    "Latency table",
    "How to reproduce",
)


class Page(HTMLParser):
    """Headings, attributes and nesting of a page."""

    VOID = frozenset(("meta", "input", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self._in_heading = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self._in_heading = tag in ("h1", "h2")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._in_heading = False

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "first")
    write_exports(folder)
    return folder


def test_a_full_run_shows_every_section(run: Path) -> None:
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path.read_text())
    assert page.open == []
    assert page.headings[0] == "Run first"
    assert tuple(page.headings[1:]) == SECTIONS
    assert len(set(page.ids)) == len(page.ids)


def test_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    text = write_report(run).read_text()
    loading = [
        (name, value)
        for name, value in Page(text).attributes
        if name in ("src", "href", "xlink:href", "data") and not value.startswith("#")
    ]
    assert loading == []
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert len(text) < 3 * 2**20


def test_the_figures_asked_for_and_found_are_there(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    text = write_report(run).read_text()
    for key in ("target_ms", "predicted_ms", "measured_ms"):
        assert f"{result[key]:.4g} ms" in text
    assert "94.1%" in text
    assert "int8 takes 0.75 times as long as fp32 here." in text


def test_the_frames_hold_the_probabilities_of_every_epoch(run: Path) -> None:
    text = write_report(run).read_text()
    frames = json.loads(re.search(r'id="run-alpha-frames">(.*?)</script>', text)[1])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [frame["alpha"] for frame in frames] == [line["alpha"] for line in lines]
    assert frames[0]["name"] == "warm-up epoch 1 of 10"
    assert frames[-1]["name"] == "search epoch 25 of 25"


def test_text_from_files_is_escaped(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "<b>run", device="<script>alert(1)</script>")
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["data"] = "</style><img src=x>"
    (folder / "config.json").write_text(json.dumps(config))
    text = write_report(folder, tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "<b>run" not in text
    assert "&lt;b&gt;run" in text


@pytest.mark.parametrize(
    ("absent", "section", "hint"),
    [
        ("metrics.jsonl", "Search", "Search curves"),
        ("architecture.json", "Architecture", "--resume"),
        ("result.json", "Other targets and finalists", "Pareto front"),
        ("exports/manifest.json", "Exported files", "export"),
        ("config.json", "How to reproduce", "Latency by block"),
    ],
)
def test_an_absent_file_leaves_its_section_out_and_says_how_to_get_it(
    run: Path, absent: str, section: str, hint: str
) -> None:
    (run / absent).unlink()
    text = write_report(run).read_text()
    headings = Page(text).headings
    assert section not in headings
    assert "Not shown" in headings
    assert hint in text.partition("Not shown")[2]


def test_a_run_cut_off_during_warm_up_is_shown(run: Path) -> None:
    for name in ("result.json", "architecture.json"):
        (run / name).unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text(lines[0] + "\n")
    assert "Search" in Page(write_report(run).read_text()).headings


def test_a_table_that_went_away_costs_only_the_breakdown(run: Path) -> None:
    (run.parent / "first.csv").unlink()
    text = write_report(run).read_text()
    assert "Latency by block: no table" in text
    assert "Latency table" in Page(text).headings


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.jsonl", '{"phase": "search"}\n{"phase"\n', "metrics.jsonl, line 2 is not JSON"),
        ("metrics.jsonl", "[1]\n", "line 1 must be a JSON object"),
        ("metrics.jsonl", '{"train_loss": "low"}\n', "train_loss must be a number"),
        ("metrics.jsonl", '{"expected_ms": [3]}\n', "expected_ms must map names to numbers"),
        ("metrics.jsonl", '{"alpha": [[2.0]]}\n', "alpha must be rows of probabilities"),
        ("metrics.jsonl", '{"train_loss": NaN}\n', "NaN"),
        ("result.json", "{", "result.json is not JSON"),
        ("result.json", "[]", "result.json must hold a JSON object"),
        ("result.json", '{"target_ms": "8"}', "target_ms must be a number"),
        ("result.json", '{"measured_interval_ms": [1]}', "must be two numbers"),
        ("result.json", '{"pareto": [{"latency_ms": 3}]}', r"pareto\[0\] lacks log_probability"),
        ("result.json", '{"pareto": 3}', "pareto must be a list of objects"),
        ("config.json", '{"settings": 3}', "settings must be an object"),
        ("exports/manifest.json", '{"files": {}}', "files must be a list"),
        ("exports/manifest.json", '{"files": [{"bytes": 1}]}', r"files\[0\] must be an object"),
        (
            "exports/manifest.json",
            '{"files": [{"file": "a", "bytes": 1, "latency": {"median_ms": "x"}}]}',
            "median_ms must be a number",
        ),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(
    run: Path, name: str, content: str, message: str
) -> None:
    (run / name).write_text(content)
    with pytest.raises(ReportError, match=message) as caught:
        write_report(run)
    assert Path(name).name in str(caught.value)
    assert not (run / "report.html").exists()


def test_a_line_of_metrics_that_was_being_written_is_no_epoch_yet(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"phase": "sea')
    assert "Search" in Page(write_report(run).read_text()).headings


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="holds nothing of a run"):
        write_report(tmp_path)
    with pytest.raises(ReportError, match="there is no folder"):
        write_report(tmp_path / "absent")
    with pytest.raises(ReportError, match="at least one"):
        write_report([])


def test_an_unwritable_output_leaves_the_old_report(run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ReportError, match="it is a folder"):
        write_report(run, tmp_path / "taken")


def test_runs_are_compared_on_each_others_devices(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "cpu"),
        write_run(tmp_path / "phone", seed=3, device="phone", scale=7),
    ]
    text = write_report(runs, tmp_path / "both.html").read_text()
    page = Page(text)
    assert page.open == []
    assert page.headings[:3] == ["Comparison: cpu, phone", "Comparison", "cpu"]
    assert len(set(page.ids)) == len(page.ids)
    for owner in runs:
        for network in map(read_run, runs):
            table = read_run(owner).table
            assert table is not None
            assert network.arch is not None
            assert f"{table.latency_ms(network.arch):.4g} ms" in text


def test_a_network_that_a_table_cannot_price_gets_a_dash(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "cpu"), write_run(tmp_path / "phone", seed=3, device="phone")]
    table = write_table(tmp_path / "phone.csv", "phone")
    network = read_run(runs[0]).arch
    assert network is not None
    kept = [op for op in table.entries if op != network.ops()[3]]
    type(table)({op: table.entries[op] for op in kept}, table.metadata).save(tmp_path / "phone.csv")
    text = write_report(runs, tmp_path / "both.html").read_text()
    assert "the table lacks ops of that network, and nothing is substituted" in text


def test_a_training_is_shown_as_one(run: Path) -> None:
    for name in ("result.json", "config.json", "metrics.jsonl"):
        (run / name).unlink()
    (run / "config.json").write_text(
        json.dumps({"kind": "train", "settings": {"arch": "proxyless-gpu", "epochs": 2}})
    )
    (run / "result.json").write_text(json.dumps({"top1": 0.875, "seconds": 61}))
    (run / "metrics.jsonl").write_text(
        '{"epoch": 0, "train_loss": 2.0, "validation": {"top1": 0.5, "loss": 1.5}}\n'
        '{"epoch": 1, "train_loss": 1.0, "validation": {"top1": 0.75, "loss": 1.0}}\n'
    )
    text = write_report(run).read_text()
    assert "Training" in Page(text).headings
    assert "87.5%" in text
    assert "held out" in text
    assert "proxyless-hw train proxyless-gpu --epochs 2" in text
    assert "Pareto" not in text


def test_figures_are_written_as_svg_and_png(run: Path, tmp_path: Path) -> None:
    write_report(run, figures=tmp_path / "figures")
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"architecture", "expected", "alpha", "latency", "breakdown", "pareto"} <= names
    for name in names:
        svg = (tmp_path / "figures" / f"{name}.svg").read_text()
        assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
        assert (tmp_path / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
