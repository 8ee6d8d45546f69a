"""Ctrl-C and SIGTERM end a search or a training at the next step, with its state saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from proxyless_hw.errors import InterruptedRunError

__all__ = ["InterruptedRunError", "StopRequest", "stop_on_signals"]


@dataclass
class StopRequest:
    """Whether a signal has asked the run to stop."""

    signal_number: int | None = None

    @property
    def is_set(self) -> bool:
        """True once a signal has arrived."""
        return self.signal_number is not None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Makes the first SIGINT or SIGTERM only set the request; a second one acts at once.

    A request that nothing acted upon is not lost: the signal is sent again at the end.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if request.signal_number is not None:
        signal.raise_signal(request.signal_number)
