"""Ctrl-C between two steps instead of in the middle of one."""

import signal
import threading
from types import FrameType
from typing import Any


class Interruption:
    """Until `close()`, Ctrl-C waits for `release()` if `busy` is set; at any other time it interrupts as usual.

    Only the main thread receives Ctrl-C; in others, and where nothing handles it in Python, this does nothing.
    """

    def __init__(self) -> None:
        self.busy = self.waiting = self.over = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                signal.signal(signal.SIGINT, self.handle)

    def close(self) -> None:
        """Give Ctrl-C back to who had it before."""
        # Two runs may end in another order than they began, and somebody else may have set a handler meanwhile.
        self.busy, self.over = False, True
        main = threading.current_thread() is threading.main_thread()
        if callable(self._before) and main and signal.getsignal(signal.SIGINT) == self.handle:
            signal.signal(signal.SIGINT, _still_open(self._before))

    def release(self) -> None:
        """End a stretch of work that must be done wholly; a Ctrl-C that came meanwhile takes effect now."""
        self.busy = False
        if self.waiting:
            self.waiting = False
            raise KeyboardInterrupt

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What the interpreter calls at Ctrl-C."""
        if self.busy:
            self.waiting = True
        else:
            _still_open(self._before)(number, frame)


def _still_open(handler: Any) -> Any:
    """The handler, or if it belongs to an Interruption that is over, the one that was there before."""
    owner = getattr(handler, "__self__", None)
    while isinstance(owner, Interruption) and owner.over:
        handler = owner._before
        owner = getattr(handler, "__self__", None)
    return handler
