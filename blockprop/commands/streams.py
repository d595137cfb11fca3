"""Standard output and standard error as they come: without Unicode, full, or closed by whoever read them."""

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a stream says that takes no more: it is full, or its terminal was closed."""


def take_all_characters() -> None:
    """From now on, characters that a stream cannot hold are spelled out (`\\u2026`) instead of being an error."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class _Lossy(io.FileIO):
    """What it cannot write is lost."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in FULL:
                raise
            return memoryview(data).nbytes


def lose_what_cannot_be_said() -> None:
    """From now on, a standard error that is full or whose terminal was closed stops no run: it loses what is said."""
    stream = sys.stderr
    if isinstance(stream, io.TextIOWrapper) and stream is sys.__stderr__:
        file = io.BufferedWriter(_Lossy(stream.fileno(), "wb", closefd=False))
        sys.stderr = io.TextIOWrapper(file, stream.encoding, stream.errors, line_buffering=True, write_through=True)


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
