"""docs/reliability.md says what the runs gave, no more and no less."""

from __future__ import annotations

from reliability_table import PAGE, page, suite_table


def test_the_page_is_what_the_records_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_failures_are_counted_into_the_total() -> None:
    rows = [
        {"suite": "fuzz_table", "cases": 20000, "failed": 2, "seconds": 60, "seed": 1},
        {"suite": "killed", "cases": 50, "failed": 1, "seconds": 30, "seed": 2},
    ]
    lines = suite_table(rows).splitlines()
    assert lines[2] == "| hypothesis: mutated table | 20,000 | 2 | 1.0 | 1 |"
    assert lines[-1] == "| **all** | **20,050** | **3** | 1.5 | |"
