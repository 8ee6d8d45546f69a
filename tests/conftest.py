"""For all tests: how threads wait is settled before torch loads; their number stays as it was.

Generated inputs are not judged by how long they take: a machine with other work is no failure.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the processors: a thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import proxyless_hw  # noqa: F401  before torch

settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A test that sets torch's threads does not decide how later ones add up."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
