"""Ctrl-C and a cluster's request to end, kept until the step is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any


@dataclass
class Stopping:
    """While it lasts, a signal to end is only noted; a second Ctrl-C ends the process at once.

    Attributes:
        asked: Whether there was one.
    """

    asked: bool = False
    before: Mapping[int, Any] = field(default_factory=dict)

    def __enter__(self) -> Stopping:
        # Python lets the main thread alone handle signals.
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Launchers send SIGTERM right after a Ctrl-C that everybody has had: that is no second wish.
        if self.asked and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        self.asked = True
