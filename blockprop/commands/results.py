"""Where results go: a file that is there is never replaced, unless --force says so."""

import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from blockprop.commands.console import say
from blockprop.errors import SettingError

KEPT = (".state", ".checkpoint")
"""Behind a result's name: what a run that was stopped goes on from."""
IN_FOLDERS = ("index.html", "network.json", "0001.png")
"""What a folder with a result holds: a page, a network, the frames of a film."""

_forced = False
_read: set[str] = set()
"""The files that this command reads."""
_moved: dict[Path, Path] = {}
"""The results of this command that got other names than they were to have."""


def set_forced(forced: bool) -> None:
    """Whether results may take the place of files that are there, for the command that begins."""
    global _forced
    _forced = forced
    _moved.clear()


def is_forced() -> bool:
    """Whether results may take the place of files that are there."""
    return _forced


def set_read(values: Iterable[Any]) -> None:
    """Note which of a command's values are files that it reads, so that even --force replaces none of them.

    values: texts, and lists of such; where results go are paths. A network may make way for what becomes of it.
    """
    _read.clear()
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    _read.update(os.path.realpath(text) for text in texts if isinstance(text, str) and os.path.isfile(text))


def say_moved() -> None:
    """Say which results have got other names, now that they are there."""
    for path, free in _moved.items():
        if free.exists():
            if path.exists():
                say(f"{path} was there already, so this is {free}; --force replaces it")
            else:
                say(f"{path} belongs to a run that was stopped, so this is {free}; --resume goes on with that run")


def place(path: Path, resume: bool = False) -> Path:
    """Where a result goes: `path`, or that with a number behind its name if it is taken, and `say_moved` says so.

    path: a file, or the folder of a page.
    resume: the last of these names whose run was stopped and left something to go on from; `path` if there is none.
    """
    if resume:
        last = next((name for name in reversed(taken_names(path)) if _kept(name)), path)
        if last != path:
            say(f"the last of these runs is {last}, which goes on")
        return last
    if _forced and os.path.realpath(path) in _read:
        raise SettingError(f"{path} is read for this, and would be overwritten; choose another --out")
    if _forced or not _is_taken(path):
        return path
    _moved[path] = next(name for name in _names(path) if not _is_taken(name))
    return _moved[path]


def _names(path: Path) -> Iterator[Path]:
    """cat.png, cat_2.png, cat_3.png, …"""
    yield path
    if not path.name:
        raise SettingError(f"{path} holds a page already; choose another folder, or replace it with --force")
    yield from (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in count(2))


def taken_names(path: Path) -> list[Path]:
    """Those of the names that a result may get where something is already."""
    names: list[Path] = []
    for name in _names(path):
        if not _is_taken(name):
            return names
        names.append(name)
    return names


def _is_taken(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).exists() for name in IN_FOLDERS)
    return path.exists() or _kept(path)


def _kept(path: Path) -> bool:
    """Whether something is there that a run goes on from; the batches of a sheet have one each, with a number."""
    ends = [end + number for end in KEPT for number in ("", ".1")]
    return any(path.with_name(path.name + end).exists() for end in ends)
