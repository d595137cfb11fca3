"""Ctrl-C between two steps instead of in the middle of one."""

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """While open, Ctrl-C waits for `release()` if `busy` is set; at any other time it interrupts as usual.

    Only the main thread receives Ctrl-C; in others, and where nothing handles it in Python, this does nothing.
    """

    def __init__(self) -> None:
        self.busy = self.waiting = False
        self._before: Any = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if callable(self._before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    def release(self) -> None:
        """End a stretch of work that must be done wholly; a Ctrl-C that came meanwhile takes effect now."""
        self.busy = False
        if self.waiting:
            self.waiting = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.busy:
            self.waiting = True
        else:
            self._before(number, frame)
