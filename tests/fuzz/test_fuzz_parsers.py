"""Every form that is read, fuzzed: it ends in success or in an error that says what is wrong."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import pytest
from cases import record
from fuzz_strategies import SAMPLES, files
from fuzz_targets import TARGETS, attempt
from hypothesis import HealthCheck, Phase, given, seed, settings

SEED = 20240601
FAST_CASES, SLOW_CASES = 150, 20_000


def fuzz(name: str, cases: int, base_seed: int) -> tuple[int, int]:
    """Runs so many cases of a form; how many were tried and how many were accepted."""
    tried = accepted = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        @seed(base_seed)
        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(files(name))
        def case(content: bytes) -> None:
            nonlocal tried, accepted
            tried += 1
            accepted += attempt(name, content, folder)

        with warnings.catch_warnings():
            # A finding is shown whole, however long it is.
            warnings.filterwarnings("ignore", message="Generating overly large repr")
            case()
    return tried, accepted


@pytest.mark.parametrize("name", TARGETS)
def test_the_samples_that_fuzzing_starts_from_are_valid(name: str, tmp_path: Path) -> None:
    for sample in SAMPLES[name]:
        assert attempt(name, sample.encode(), tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_a_mutated_file_is_read_or_refused_by_name(name: str) -> None:
    tried, accepted = fuzz(name, FAST_CASES, SEED)
    assert tried >= FAST_CASES
    assert 0 < accepted < tried, "mutations that all end alike reach only one part of the parser"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_twenty_thousand_mutated_files_are_read_or_refused_by_name(name: str) -> None:
    start, tried, failed = time.monotonic(), SLOW_CASES, 1
    try:
        tried, _ = fuzz(name, SLOW_CASES, SEED + 1)
        failed = 0
    finally:
        record(f"fuzz_{name}", tried, failed, time.monotonic() - start, SEED + 1)
    assert tried >= SLOW_CASES
