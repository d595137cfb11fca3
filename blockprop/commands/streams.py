"""Standard output and standard error as they come: without Unicode, full, or closed by whoever read them."""

import os
import sys
from contextlib import suppress
from typing import TextIO


def take_all_characters() -> None:
    """From now on, characters that a stream cannot hold are spelled out (`\\u2026`) instead of being an error."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def holds_unicode(stream: TextIO) -> bool:
    """Whether any character can be written there as it is."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def is_writable(stream: TextIO) -> bool:
    """Whether all that was printed could be written; if not, the rest goes nowhere, and Python does not try again."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True
