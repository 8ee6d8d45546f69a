"""The errors a user can meet. Each message states the rule, what was received and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyless_hw.space.specs import OpSpec


class ProxylessHwError(Exception):
    """Base of every error raised on purpose; the command line shows it and exits with 1.

    Example:
        >>> import proxyless_hw as ph
        >>> try:
        ...     ph.LatencyTable.load("pixel2")
        ... except ph.ProxylessHwError as error:
        ...     print(str(error)[:40])
        no table 'pixel2'. Did you mean 'pixel1'
    """

    exit_code = 1


class InterruptedRunError(ProxylessHwError):
    """The run was told to stop (Ctrl-C, SIGTERM); the message says what is kept."""

    exit_code = 130


class SpaceError(ProxylessHwError):
    """A search space is malformed or does not hold what was asked of it."""


class ArchitectureError(ProxylessHwError):
    """An architecture is malformed, or lies outside the space it is used with."""


class TableError(ProxylessHwError):
    """A latency table is malformed or does not match its use."""


class MissingEntryError(TableError):
    """A table lacks ops that are needed. Nothing is ever substituted for them.

    Attributes:
        missing: the absent ops, in the order they were asked for.
    """

    def __init__(self, message: str, missing: Sequence[OpSpec]) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class ProfilingError(ProxylessHwError):
    """A measurement could not be made or cannot be trusted."""


class PredictorError(ProxylessHwError):
    """A predictor cannot be fitted or applied."""


class SearchError(ProxylessHwError):
    """A search cannot start, go on or end as asked."""


class InfeasibleTargetError(SearchError):
    """No network of a space meets a target; the message states the range or the nearest costs."""


class TrainingError(ProxylessHwError):
    """A training cannot start, go on or end as asked."""


class ExportError(ProxylessHwError):
    """A model file could not be written, or differs from the network it came from."""


class ReportError(ProxylessHwError):
    """A run cannot be shown: a file of it is malformed, or the report cannot be written."""


class DataError(ProxylessHwError):
    """A data set is missing, malformed or unusable."""


class TaskError(ProxylessHwError):
    """A loss, metric, objective or reward of the user's does not give what it has to."""


class BackendUnavailableError(ProxylessHwError):
    """A runtime, device or optional dependency is not there; the message says how to get it."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the option nearest to `name`, or an empty string."""
    close = difflib.get_close_matches(name[:100], list(options), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
