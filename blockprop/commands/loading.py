"""Loading torch: late, since the help needs none of it, and so that Ctrl-C does then what it does at any other time."""

import importlib
import os
import sys
from contextlib import ExitStack, suppress

from blockprop.saving.interruption import ended_at_once

FIRST = ("torch",)
"""What all commands need."""
_alone = False
_until_loaded = ExitStack()


def set_alone() -> None:
    """From now on, this process is the command line and nothing else, which may end at any time."""
    global _alone
    _alone = True


def begin() -> None:
    """Until `load` has done its work, signals that ask to stop end the process at once, if it is the command line's."""
    if _alone:
        _until_loaded.enter_context(ended_at_once(say_ended))


def load() -> None:
    """Load what the commands compute with; to be called before one of them runs."""
    for module in FIRST:
        importlib.import_module(module)
    _until_loaded.close()


def say_ended(how: str) -> None:
    """What the command line says when it is interrupted, written by the operating system at any moment."""
    with suppress(OSError):
        os.write(2, f"blockprop: {how}\n".encode())
    if "--json" in sys.argv:
        with suppress(OSError):
            os.write(1, f'{{"error": "{how}"}}\n'.encode())
