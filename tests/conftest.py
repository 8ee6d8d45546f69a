"""For all tests: how threads wait is settled before torch loads; their number stays as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import proxyless_hw  # noqa: F401  before torch


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A test that sets torch's threads does not decide how later ones add up."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
