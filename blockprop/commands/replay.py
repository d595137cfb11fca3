"""`blockprop replay`: the same picture again, from the settings in its file."""

import inspect
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any

import torch
import typer

from blockprop.commands.console import show
from blockprop.commands.dream import make_dream
from blockprop.commands.making import Around, Maker, produce, tell
from blockprop.commands.maximize import make_maximize
from blockprop.commands.options import VARIABLE, Blocks, Device, Json
from blockprop.commands.photos import picture_file
from blockprop.commands.saliency import make_saliency
from blockprop.commands.sanity import make_sanity
from blockprop.commands.segment import make_segment
from blockprop.commands.sheet import make_sheet
from blockprop.commands.stylize import make_stylize
from blockprop.engine.network import Network
from blockprop.errors import DataError, FormatError, SettingError, suggestion
from blockprop.networks.shipped import is_saved, is_shipped
from blockprop.pictures.picture_files import FORMAT_OF_SUFFIX, read_picture, read_settings
from blockprop.pictures.provenance import file_digest, how_made
from blockprop.saving.files import require_writable
from blockprop.version import __version__

EPILOG = "Example:\n\nblockprop replay goose.png --out goose_again.png"

MAKERS: dict[str, Maker] = {
    "dream": make_dream,
    "maximize": make_maximize,
    "saliency": make_saliency,
    "sanity": make_sanity,
    "segment": make_segment,
    "sheet": make_sheet,
    "stylize": make_stylize,
}
"""What makes the pictures of each command, from the settings in their files."""
NEEDED = {"saliency": 1, "sanity": 1, "segment": 1, "stylize": 2}
"""Pictures that a command needs at least."""
BOUNDS = {"seed": range(2**31), "stop": range(1, 2**31), "steps": range(1, 2**31), "samples": range(1, 2**31)}
LONGEST = 10_000
"""Characters of a setting."""


def replay(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture that a command has made.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The new picture; by default PICTURE_again.")] = None,
    network: Annotated[
        str | None, typer.Option("--network", "-n", help="Where its network is now, if not where it was.")
    ] = None,
    own_blocks: Blocks = None,
    device: Device = "cpu",
    show_settings: Annotated[bool, typer.Option("--show", help="Only print the settings.")] = False,
    as_json: Json = False,
) -> None:
    """Make a picture again from the settings in its file, and compare the two."""
    how = read_settings(picture)
    settings = _settings(picture, how)
    if show_settings:
        _print_settings(how, settings, as_json)
        return
    source = Path(picture)
    path = picture_file(out, f"{source.stem}_again{source.suffix}")
    if path.exists() and path.samefile(source):
        raise SettingError(f"{path} is the picture itself; choose another name with --out")
    require_writable(path)
    settings["network"] = network or _where(settings["network"], source)
    settings["pictures"] = [_same_file(picture, how, path) for path in settings.get("pictures") or ()]
    if "pictures" not in inspect.signature(MAKERS[how["command"]]).parameters:
        del settings["pictures"]
    around = Around(path, own_blocks, device, as_json)

    def expect(opened: Network) -> None:
        there = how_made("", {}, network=opened)
        if any(there[name] != how.get(name) for name in ("network", "classes")):
            raise DataError(f"{picture} was made with another network than {settings['network']}; --network names it")

    made, _ = produce(how["command"], MAKERS[how["command"]], settings, around, expect)
    facts = made.facts | {"picture": str(path)} | _compared(source, path)
    versions = {"blockprop": __version__, "torch": torch.__version__}
    if facts.get("same_pixels") is False and how.get("versions") != versions:
        made.notes = [*made.notes, f"{picture} was made with {how.get('versions')}, here it is {versions}"]
    tell(made, facts, around, as_json)


def _settings(picture: str, how: Mapping[str, Any]) -> dict[str, Any]:
    """The maker's settings in a picture's file, which anybody may have written.

    FormatError if they are of no command that is known here, or not what it takes.
    """
    command, arguments = how.get("command"), how.get("arguments")
    if not isinstance(command, str) or command not in MAKERS:
        raise FormatError(f"{picture}: made by a command that is not known here, {_short(command)}")
    if not isinstance(arguments, dict) or "network" not in arguments:
        raise FormatError(f"{picture}: its settings are spoiled: there is no network among them")
    settings = arguments | {"seed": how.get("seed")}
    hints = typing.get_type_hints(MAKERS[command]) | {"network": str}
    hints = {name: hint for name, hint in hints.items() if name not in ("around", "return")}
    for name, value in settings.items():
        if name not in hints:
            raise FormatError(f"{picture}: {command} has no setting {_short(name)}{suggestion(name, hints)}")
        spoiled = not _fits(value, hints[name]) or (name in BOUNDS and value is not None and value not in BOUNDS[name])
        if spoiled or len(str(value)) > LONGEST:
            raise FormatError(f"{picture}: its settings are spoiled: {name} is {_short(value)}")
    files = how.get("pictures")
    if not isinstance(files, dict) or any(path not in files for path in settings.get("pictures") or ()):
        raise FormatError(f"{picture}: its settings are spoiled: it does not say which pictures it was made from")
    if NEEDED.get(command, 0) > len(settings.get("pictures") or ()):
        raise FormatError(f"{picture}: its settings are spoiled: there is no picture among them")
    return settings


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that an annotation names; a whole number may stand for a float."""
    if isinstance(hint, UnionType):
        return any(_fits(value, each) for each in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        return isinstance(value, list) and all(_fits(each, inner) for each in value)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


def _where(path: str, source: Path) -> str:
    """Where a file lies: where it was, beside the picture, or (a network) where the environment says."""
    beside = source.parent / path
    if is_saved(Path(path)):
        return path
    if is_shipped(path) and not is_saved(beside):
        return path
    return str(beside) if beside.exists() else os.environ.get(VARIABLE, path)


def _same_file(picture: str, how: Mapping[str, Any], path: str) -> str:
    """Where a file lies that a picture was made from: where it was, or beside the picture. DataError if it changed."""
    beside = Path(picture).parent / path
    found = str(beside) if not Path(path).exists() and beside.exists() else path
    if file_digest(found) != how["pictures"][path]:
        raise DataError(f"{found} is another picture than the one that {picture} was made from")
    return found


def _compared(source: Path, path: Path) -> dict[str, Any]:
    """Whether two pictures are the same, and if not, how they differ; nothing if JPEG is between them."""
    kinds = {FORMAT_OF_SUFFIX.get(each.suffix.lower()) for each in (source, path)}
    if len(kinds) > 1 and "JPEG" in kinds:
        return {"difference": "JPEG changes pixels: compare files of one kind"}
    before, after = read_picture(source), read_picture(path)
    if before.shape != after.shape:
        return {"same_pixels": False, "difference": "they have other sizes"}
    if torch.equal(before, after):
        return {"same_pixels": True}
    gap = (before - after).abs()
    share = float((gap.amax(1) > 0).float().mean())
    far = f"{share:.1%} of the pixels, by {float(gap.max()) * 255:.0f} of 255 at most"
    return {"same_pixels": False, "difference": far}


def _print_settings(how: Mapping[str, Any], settings: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show(how, as_json)
        return
    found = how.get("versions")
    versions = ", ".join(f"{name} {number}" for name, number in found.items()) if isinstance(found, dict) else "unknown"
    show({"command": how["command"], "versions": versions} | dict(settings), as_json)
