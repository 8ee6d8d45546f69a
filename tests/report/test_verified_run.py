"""A verified run: one figure for what is predicted, and the verdict in words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import add_verification, write_run

from proxyless_hw.errors import ReportError
from proxyless_hw.report.report import write_report
from proxyless_hw.report.run_data import read_run
from proxyless_hw.report.run_figures import chosen_against_the_odds, run_figures


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "first")


def text_of(run: Path) -> str:
    return re.sub(r"\s+", " ", write_report(run).read_text())


def finalists(text: str) -> list[str]:
    table = text.partition("<h3>Finalists</h3>")[2].partition("</table>")[0]
    return re.findall(r"([\d.]+) ms", table)


def test_the_card_and_the_finalists_give_the_winner_one_prediction(run: Path) -> None:
    add_verification(run, verdict="agrees")
    text = text_of(run)
    card = re.search(r"<span>predicted</span><b>([\d.]+) ms", text)
    assert card is not None
    assert finalists(text)[0] == card[1]
    assert "Predictions are sums of the table times 0.56, as measured." in text


def test_without_a_verification_the_table_is_the_prediction(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    text = text_of(run)
    assert finalists(text)[0] == f"{result['predicted_ms']:.4g}"
    assert "sums of the table times" not in text


def test_the_optima_stand_on_the_scale_of_the_target(run: Path) -> None:
    before = read_run(run).pareto
    add_verification(run, correction=0.5)
    assert read_run(run).pareto == before  # the file keeps what it held
    ticks = re.findall(r">([\d.]+)</text>", run_figures(read_run(run))["pareto"].svg())
    assert max(map(float, ticks)) < 0.6 * max(point.cost for point in before)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"verdict": "agrees"}, "agrees"),
        ({"verdict": "undecided", "agrees": True}, "undecided"),
        ({"verdict": "missed"}, "missed"),
        ({"agrees": True}, "agrees"),
        ({"agrees": False}, "missed"),
    ],
)
def test_the_verdict_is_a_badge_on_what_was_measured(
    run: Path, fields: dict[str, Any], word: str
) -> None:
    add_verification(run, **fields)
    assert read_run(run).verdict == word
    assert f'measured <em class="badge {word}">{word}</em>' in text_of(run)


def test_a_run_that_was_not_verified_has_no_badge(run: Path) -> None:
    assert read_run(run).verdict is None
    assert 'class="badge' not in text_of(run)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"verdict": "maybe"},
            "verdict must be one of agrees, undecided, missed: received 'maybe'",
        ),
        ({"verdict": ["agrees"]}, "verdict must be one of"),
        ({"agrees": "yes"}, "agrees must be true or false"),
        ({"correction": "half"}, "correction must be a number"),
    ],
)
def test_a_malformed_verification_is_an_error_that_names_the_field(
    run: Path, fields: dict[str, Any], message: str
) -> None:
    add_verification(run)
    path = run / "result.json"
    result = json.loads(path.read_text())
    result["verify"].update(fields)
    path.write_text(json.dumps(result))
    with pytest.raises(ReportError, match=message):
        write_report(run)


def test_the_comparison_shows_the_verdicts(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "second", seed=2)
    add_verification(run, verdict="undecided")
    text = write_report([run, other], tmp_path / "both.html").read_text()
    assert "<td>undecided</td>" in text


def test_a_frame_beside_the_darkest_cell_is_explained(run: Path) -> None:
    assert chosen_against_the_odds(read_run(run)) == []
    assert "is not on the darkest cell" not in text_of(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    slots = lines[-1]["alpha"]
    for slot in (2, 6):
        slots[slot] = slots[slot][1:] + slots[slot][:1]  # the probabilities move, the choice stays
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert chosen_against_the_odds(read_run(run)) == [2, 6]
    assert "In slots 3 and 7 the frame is not on the darkest cell" in text_of(run)
