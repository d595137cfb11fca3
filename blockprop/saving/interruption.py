"""Ctrl-C, SIGTERM as schedulers send it, and SIGHUP of a terminal that is closed: between two steps instead of in the
middle of one.
"""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

TERMINATING = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""Signals that end a process, unless it handles them."""
STOPPING = (signal.SIGINT, *TERMINATING)
"""Signals that ask a run to stop."""
SOON = 0.01
"""Seconds."""
SIGNALED = 128
"""Exit code after a signal, plus its number, as shells have it."""


def ignore_signals() -> None:
    """Let no signal that asks it to stop disturb a process that is through: what it writes is written.

    Only for a process of our own, in its main thread.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


class Interruption:
    """Until `close()`, Ctrl-C waits for `release()` if `busy` is set; at any other time it interrupts as usual.

    While `held` is set, `release()` lets it wait further, for the next one.

    SIGTERM and SIGHUP do the same where something in Python handles them, as `Termination` does.
    Only the main thread receives signals; in others, and where nothing handles them in Python, this does nothing.
    """

    def __init__(self) -> None:
        self.busy = self.over = self.held = False
        self._waiting: signal.Signals | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in STOPPING}
            self._before = {number: handler for number, handler in before.items() if callable(handler)}
            for number in self._before:
                signal.signal(number, self.handle)

    @property
    def is_waiting(self) -> bool:
        """Whether a Ctrl-C came that takes effect at `release`."""
        return self._waiting is not None

    def close(self) -> None:
        """Give the signals back to who had them before."""
        # Two runs may end in another order than they began, and somebody else may have set a handler meanwhile.
        self.busy, self.over = False, True
        if threading.current_thread() is threading.main_thread():
            for number, before in self._before.items():
                if signal.getsignal(number) == self.handle:
                    signal.signal(number, _still_open(before, number))

    def release(self) -> None:
        """End a stretch of work that must be done wholly; a Ctrl-C that came meanwhile takes effect now."""
        self.busy = False
        if self._waiting is not None and not self.held:
            number, self._waiting = self._waiting, None
            _still_open(self._before[number], number)(number, None)
            raise KeyboardInterrupt  # also where that handler only takes note

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What the interpreter calls at a signal."""
        if self.busy:
            self._waiting = signal.Signals(number)
        else:
            _still_open(self._before[number], number)(number, frame)


def _still_open(handler: Any, number: int) -> Any:
    """The handler, or if it belongs to an Interruption that is over, the one that was there before."""
    owner = getattr(handler, "__self__", None)
    while isinstance(owner, Interruption) and owner.over:
        handler = owner._before[number]
        owner = getattr(handler, "__self__", None)
    return handler


@contextmanager
def ended_at_once(say: Callable[[str], None]) -> Iterator[None]:
    """While this process loads what takes long, signals that ask it to stop end it, after `say("interrupted")` or
    `say("terminated")`: an exception in the middle of an import may be lost, or come out as another one.

    What somebody ignores stays ignored. Only for a process of our own, with nothing to save yet.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        say("interrupted" if number == signal.SIGINT else "terminated")
        os._exit(SIGNALED + number)

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in STOPPING if main}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def no_interrupt_lost() -> Iterator[None]:
    """Inside, a KeyboardInterrupt in a destructor or in the callback of a weak reference comes again soon after it:
    Python itself would print it there, and pass on.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.exc_type is not None and issubclass(unraisable.exc_type, KeyboardInterrupt):
            again = threading.Timer(SOON, _thread.interrupt_main)  # from outside: in here it would be lost, too
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


class Termination:
    """Whether SIGTERM or SIGHUP has come: `by`, None before. The first one interrupts as Ctrl-C does; later ones do not
    disturb what it set off.
    """

    by: signal.Signals | None = None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """What the interpreter calls at such a signal."""
        if self.by is None:
            self.by = signal.Signals(number)
            raise KeyboardInterrupt

    @classmethod
    @contextmanager
    def watched(cls) -> Iterator["Termination"]:
        """Inside, they interrupt, but for those that somebody else handles or ignores, and in the main thread alone."""
        termination = cls()
        main = threading.current_thread() is threading.main_thread()
        ours = [number for number in TERMINATING if main and signal.getsignal(number) is signal.SIG_DFL]
        for number in ours:
            signal.signal(number, termination.handle)
        try:
            yield termination
        finally:
            for number in ours:
                signal.signal(number, signal.SIG_DFL)
