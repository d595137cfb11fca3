"""Loading torch: late, since the help needs none of it, and so that Ctrl-C does then what it does at any other time."""

import importlib
import os
import sys
from contextlib import nullcontext, suppress

from blockprop.saving.interruption import ended_at_once

FIRST = ("torch",)
"""What all commands need."""
_alone = False


def set_alone() -> None:
    """From now on, this process is the command line and nothing else, which may end at any time."""
    global _alone
    _alone = True


def load() -> None:
    """Load what the commands compute with; to be called before one of them runs."""
    with ended_at_once(say_ended) if _alone else nullcontext():
        for module in FIRST:
            importlib.import_module(module)


def say_ended(how: str) -> None:
    """What the command line says when it is interrupted, written by the operating system at any moment."""
    with suppress(OSError):
        os.write(2, f"blockprop: {how}\n".encode())
    if "--json" in sys.argv:
        with suppress(OSError):
            os.write(1, f'{{"error": "{how}"}}\n'.encode())
