"""Pictures of a folder that cannot be read: the others are done, each of these is named, and the command fails."""

import sys
from collections.abc import Iterable
from pathlib import Path

from blockprop.commands.console import printable
from blockprop.errors import BlockpropError, DataError

_reasons: dict[str, str] = {}
"""Of the pictures that could not be read, of the running command."""
_read: set[str] = set()
"""Those that could."""


def forget() -> None:
    """For the command that begins."""
    _reasons.clear()
    _read.clear()


def passed_over(path: str, error: BlockpropError) -> None:
    """Note and say, also with --quiet, that a picture of a folder cannot be read; once."""
    if path not in _reasons:
        _reasons[path] = str(error)
        print(f"blockprop: {printable(str(error))}; it is left out", file=sys.stderr)


def any_passed_over() -> bool:
    """Whether the running command had to leave something out."""
    return bool(_reasons)


def readable(pictures: Iterable[Path], folder: str) -> list[str]:
    """Those of a folder's pictures that can be read. DataError if there are some, and none that can."""
    from blockprop.pictures.picture_files import read_pixels

    paths = [str(path) for path in pictures]
    for path in paths:
        if path not in _read and path not in _reasons:
            try:
                read_pixels(path)
            except DataError as error:
                passed_over(path, error)
            else:
                _read.add(path)
    good = [path for path in paths if path in _read]
    require_some(folder, len(paths), len(good))
    return good


def require_some(folder: str, there: int, good: int) -> None:
    """DataError if none of the pictures that are there could be read."""
    if there and not good:
        raise DataError(f"{folder}: none of the {there} pictures in this folder can be read")
