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

from blockprop.commands.contact_sheet import make_sheet
from blockprop.commands.making import Around, Maker, produce, tell
from blockprop.commands.maximize import make_maximize
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import VARIABLE, picture_file
from blockprop.commands.saliency import make_saliency
from blockprop.commands.sanity import make_sanity
from blockprop.commands.segment import make_segment
from blockprop.console import show
from blockprop.errors import DataError, FormatError, SettingError, suggestion
from blockprop.files import require_writable
from blockprop.network import Network
from blockprop.version import __version__
from blockprop.visualize.picture_files import file_digest, fingerprint, read_picture, read_settings

EPILOG = "Example:\n\nblockprop replay goose.png --out goose_again.png"

MAKERS: dict[str, Maker] = {
    "maximize": make_maximize,
    "saliency": make_saliency,
    "sanity": make_sanity,
    "segment": make_segment,
    "sheet": make_sheet,
}
"""What makes the pictures of each command, from the settings in their files."""


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
    before = settings["network"]
    settings["network"] = network or (before if Path(before).exists() else os.environ.get(VARIABLE, before))
    settings["pictures"] = [_found(each, source) for each in settings.get("pictures") or ()]
    _require_same_files(picture, how, settings["pictures"])
    if "pictures" not in inspect.signature(MAKERS[how["command"]]).parameters:
        del settings["pictures"]
    around = Around(path, own_blocks, device, as_json)

    def expect(opened: Network) -> None:
        if fingerprint(opened) != how.get("network"):
            raise DataError(f"{picture} was made with another network than {settings['network']}; --network names it")

    made, _ = produce(how["command"], MAKERS[how["command"]], settings, around, expect)
    facts = made.facts | {"picture": str(path)} | _compared(source, path)
    versions = {"blockprop": __version__, "torch": torch.__version__}
    if not facts["same_pixels"] and how.get("versions") != versions:
        made.notes = [*made.notes, f"{picture} was made with {how.get('versions')}, here it is {versions}"]
    tell(made, facts, around, as_json)


def _settings(picture: str, how: Mapping[str, Any]) -> dict[str, Any]:
    """The maker's settings in a picture's file. FormatError if they are of no command that is known here."""
    command, arguments = how.get("command"), how.get("arguments")
    if command not in MAKERS:
        near = suggestion(str(command), MAKERS)
        raise FormatError(f"{picture}: made by a command that is not known here, {command!r}{near}")
    if not isinstance(arguments, dict) or "network" not in arguments:
        raise FormatError(f"{picture}: its settings are spoiled: there is no network among them")
    settings = arguments | {"seed": how.get("seed")}
    hints = typing.get_type_hints(MAKERS[command]) | {"network": str}
    for name, value in settings.items():
        if name not in hints or name in ("around", "return"):
            raise FormatError(f"{picture}: {command} has no setting {name!r}{suggestion(name, hints)}")
        if not _fits(value, hints[name]):
            raise FormatError(f"{picture}: its settings are spoiled: {name} is {value!r}")
    return settings


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


def _found(path: str, source: Path) -> str:
    """A picture's path as it was typed, or beside the picture that is made again."""
    beside = source.parent / path
    return str(beside) if not Path(path).exists() and beside.exists() else path


def _require_same_files(picture: str, how: Mapping[str, Any], paths: list[str]) -> None:
    for path, digest in zip(paths, (how.get("pictures") or {}).values(), strict=False):
        if file_digest(path) != digest:
            raise DataError(f"{path} is another picture than the one that {picture} was made from")


def _compared(source: Path, path: Path) -> dict[str, Any]:
    """Whether two pictures are the same, and if not, how they differ."""
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
    versions = ", ".join(f"{name} {number}" for name, number in (how.get("versions") or {}).items())
    show({"command": how["command"], "versions": versions} | dict(settings), as_json)
