"""Number formats that a runtime on the processor does not really compute in."""

from __future__ import annotations

from collections.abc import Mapping

from proxyless_hw.errors import BackendUnavailableError
from proxyless_hw.profilers.base import Precision, ProfilerSettings


def refuse_precision(settings: ProfilerSettings, refused: Mapping[Precision, str]) -> None:
    """Refuses a precision that a runtime would replace by another one.

    Args:
        settings: name the precision.
        refused: precision to a sentence that says why, and which one to use.

    Raises:
        BackendUnavailableError: with that sentence.
    """
    if settings.precision in refused:
        raise BackendUnavailableError(refused[settings.precision])
