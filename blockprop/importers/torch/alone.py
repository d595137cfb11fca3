"""One import at a time, and none that leaves something of torch's behind."""

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_turn = threading.RLock()


def alone(call: Callable[[], T]) -> T:
    """What the call returns, while no other thread imports, and in a context of its own.

    torch.export replaces functions of Python itself for as long as it runs, such as max. And it sets context variables
    that it makes anew each time, and that live as long as the context that they are set in.
    """
    with _turn:
        return contextvars.copy_context().run(call)
