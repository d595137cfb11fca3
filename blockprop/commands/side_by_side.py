"""Several pictures by one command: each is made as if it were alone, and a sheet shows them side by side.

The sheet itself is not made again by `replay`; the single pictures are, each of which says how it was made.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from blockprop.commands.console import say, show
from blockprop.commands.making import made_by, print_made, state_of, with_network
from blockprop.commands.photos import picture_file
from blockprop.commands.picture_settings import PictureSettings
from blockprop.commands.results import taken_names
from blockprop.errors import BlockpropError, SettingError
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.pictures.provenance import file_digest
from blockprop.pictures.scaling import with_longest
from blockprop.pictures.sheets import sheet
from blockprop.saving.files import require_writable

SIDE_BY_SIDE = "side by side"
"""In place of a command's name, in the file of a sheet."""
CELL = 384
"""Pixels of a picture on the sheet."""


def make_side_by_side(settings: PictureSettings, singles: Mapping[str, PictureSettings]) -> None:
    """Make each picture, {caption: its settings}, then the sheet of them, and say what came out."""
    out = picture_file(settings.out, f"{settings.command}_sheet.png")
    require_writable(out)
    if settings.report is not None:
        raise SettingError(f"--report is about one picture, and this makes {len(singles)}")
    network = with_network(_looked_through(out, singles)).network
    pictures: dict[str, Tensor] = {}
    facts: list[dict[str, Any]] = []
    for caption, single in singles.items():
        picture, told = _made(replace(single, network=network), [one["picture"] for one in facts])
        pictures[caption] = _as_tile(picture)
        facts.append(told)
    files = [one["picture"] for one in facts]
    tiles = [(picture, caption) for caption, picture in pictures.items()]
    write_picture(out, sheet(tiles, side=CELL), {"command": SIDE_BY_SIDE, "singles": files})
    if settings.as_json:
        show({"pictures": facts, "picture": str(out)}, as_json=True)
    else:
        show({"side by side": str(out)}, as_json=False)


def _looked_through(out: Path, singles: Mapping[str, PictureSettings]) -> PictureSettings:
    """The first of them, after a look at all: what is wrong with the last is said before the first is made."""
    told = [single.completed() for single in singles.values()]
    read = {path for single in told for path in single.pictures_read()}
    for path in sorted(read):
        read_picture(path)
    taken = {os.path.realpath(str(path)) for path in (*read, *(single.out for single in told))}
    if os.path.realpath(out) in taken:
        raise SettingError(f"{out} is read or written for this, and would be overwritten; choose another --out")
    return told[0]


def _as_tile(picture: Tensor) -> Tensor:
    """No larger than the sheet needs."""
    return with_longest(picture[None], CELL)[0] if max(picture.shape) > CELL else picture


def _made(single: PictureSettings, taken: list[str]) -> tuple[Tensor, dict[str, Any]]:
    """(one of the pictures, facts about it); one that an earlier run of the command has finished stays as it is.

    taken: where those before it went.   KeyboardInterrupt if it was stopped.
    """
    if single.resume and (there := _finished(single)) is not None:
        say(f"{there} is finished", single.as_json)
        return read_picture(there)[0], {"picture": str(there)}
    told = single.completed()
    if single.resume and not state_of(told).is_file():
        told = replace(single, resume=False).completed()
    while str(told.out) in taken and told.out is not None:  # of another folder, with the same name; --force
        told = replace(told, out=told.out.with_stem(f"{told.out.stem}_again"))
    made, facts = made_by(told)
    if made.stopped is not None or not told.as_json:
        print_made(made, facts, told.as_json)
        print()
    return made.picture, facts


def _finished(single: PictureSettings) -> Path | None:
    """Where this picture lies already, made from the same settings to the end; None if it does not."""
    assert single.out is not None
    return next((path for path in reversed(taken_names(single.out)) if _is_made_by(single, path)), None)


def _is_made_by(single: PictureSettings, path: Path) -> bool:
    try:
        how = read_settings(path)
    except BlockpropError:
        return False
    kept = replace(single, resume=False).completed().kept()
    files = {file: file_digest(file) for file in single.completed().pictures_read()}
    same = {"seed": kept.pop("seed"), "arguments": kept, "command": single.command, "pictures": files}
    return all(how.get(name) == value for name, value in same.items())
