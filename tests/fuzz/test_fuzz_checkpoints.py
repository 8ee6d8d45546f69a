"""Checkpoints, fuzzed: restored and usable, or refused; nothing in them is executed."""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import pytest
from cases import record
from checkpoint_files import contents, kinds
from fuzz_samples import saved
from hypothesis import HealthCheck, Phase, given, seed, settings

from proxyless_hw.errors import ProxylessHwError

SEED = 20240701
FAST_CASES, SLOW_CASES = 200, 20_000


def fuzz(cases: int, base_seed: int) -> tuple[int, int]:
    """Runs so many cases; how many were tried and how many were accepted."""
    readers = kinds()
    tried = accepted = 0
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        patch.chdir(temporary)  # where a payload would leave its file
        path = Path(temporary) / "checkpoint.pt"

        @seed(base_seed)
        @settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(contents({name: kind.document for name, kind in readers.items()}))
        def case(drawn: tuple[str, bytes]) -> None:
            nonlocal tried, accepted
            name, content = drawn
            path.write_bytes(content)
            tried += 1
            try:
                readers[name].read(path)
                accepted += 1
            except ProxylessHwError as error:
                message = str(error)
            else:
                message = ""
            assert len(message) < 20_000
            assert [item.name for item in Path(temporary).iterdir()] == ["checkpoint.pt"]

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")  # torch, while a case is made
            warnings.filterwarnings("ignore", message="Generating overly large repr")
            case()
    return tried, accepted


def test_the_checkpoints_that_fuzzing_starts_from_are_valid(tmp_path: Path) -> None:
    for kind in kinds().values():
        for legacy in (False, True):
            path = tmp_path / "checkpoint.pt"
            path.write_bytes(saved(kind.document, legacy))
            kind.read(path)


def test_a_mutated_checkpoint_is_restored_or_refused() -> None:
    tried, accepted = fuzz(FAST_CASES, SEED)
    assert tried >= FAST_CASES
    assert 0 < accepted < tried


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_mutated_checkpoints_are_restored_or_refused() -> None:
    start, tried, failed = time.monotonic(), SLOW_CASES, 1
    try:
        tried, _ = fuzz(SLOW_CASES, SEED + 1)
        failed = 0
    finally:
        record("fuzz_checkpoints", tried, failed, time.monotonic() - start, SEED + 1)
    assert tried >= SLOW_CASES
