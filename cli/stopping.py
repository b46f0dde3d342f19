"""Hold back Ctrl-C, a cluster's request to end and the end of a terminal until the current step is done."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any

# Seconds in which a launcher sends a Ctrl-C again that the terminal has sent to every process.
_RELAY = 3.0
# Windows has no SIGHUP.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass
class Stopping:
    """A context that records signals to end; a second Ctrl-C ends the process at once.

    Attributes:
        relayed: Whether a launcher sends each signal again.
        asked: Whether a signal has arrived.
        since: When the first one arrived, in seconds.
        before: Handlers of the signals before this context.
    """

    relayed: bool = False
    asked: bool = False
    since: float = 0.0
    before: Mapping[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Stopping:
        # Python allows signal handlers only in the main thread.
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Launchers send SIGTERM right after a Ctrl-C that every process has received: it is not a second request.
        again = not self.relayed or time.monotonic() > self.since + _RELAY
        if self.asked and number == signal.SIGINT and again:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self.since = True, time.monotonic()
