"""`blockprop replay`: the same picture again, from the settings in its file."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockprop.commands.console import say_all, show
from blockprop.commands.options import LARGEST, Blocks, Device, Json, OpaqueNodes
from blockprop.commands.photos import picture_file
from blockprop.commands.picture_commands import PICTURE_COMMANDS
from blockprop.commands.picture_settings import (
    PictureSettings,
    Surroundings,
    option_of,
    parameters,
    required,
    settings_in_file,
)
from blockprop.commands.settings_file import COMMAND, as_toml, key_of
from blockprop.errors import DataError, FormatError, SettingError, suggestion
from blockprop.version import __version__

if TYPE_CHECKING:
    from blockprop.engine.network import Network


EPILOG = "Example:\n\nblockprop replay goose.png --out goose_again.png"

LONGEST_SETTING = 4_096
"""Characters of a setting: a path has no more."""
MOST_ENTRIES = 1000
"""Of a setting that is a list."""
MOST_PASSES = 20_000
"""Through the network, which a picture's settings may ask for without --large."""
MOST_PIXELS_AT_ONCE = 8_000_000
"""Of which so many values are kept at once that they take a gigabyte, about."""


def replay(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture that a command has made.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The new picture; by default PICTURE_again.")] = None,
    network: Annotated[
        str | None, typer.Option("--network", "-n", help="Where its network is now, if not where it was.")
    ] = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    device: Device = "cpu",
    large: Annotated[
        bool, typer.Option("--large", help="Make it though its settings ask for much work or memory.")
    ] = False,
    show_settings: Annotated[bool, typer.Option("--show", help="Only print its settings file, for --config.")] = False,
    as_json: Json = False,
) -> None:
    """Make a picture again from the settings in its file, and compare the two."""
    import torch

    from blockprop.commands.making import make_and_write, print_made
    from blockprop.commands.seeking import file_where, network_where
    from blockprop.pictures.picture_files import read_settings
    from blockprop.saving.files import require_writable

    how = read_settings(picture)
    settings = _settings(picture, how)
    if show_settings:
        _print_settings(picture, how, settings, as_json)
        return
    source = Path(picture)
    path = picture_file(out, f"{source.stem}_again{source.suffix}")
    if path.exists() and path.samefile(source):
        raise SettingError(f"{path} is the picture itself; choose another name with --out")
    require_writable(path)
    kind = PICTURE_COMMANDS[how["command"]]
    settings["network"] = network or network_where(settings["network"], source)
    if "pictures" in settings:
        settings["pictures"] = [_same_file(picture, how, file) for file in settings["pictures"]]
    if settings.get("preprocessing"):
        settings["preprocessing"] = file_where(settings["preprocessing"], source)
    _require_no_code(picture, settings, own_blocks)
    told = kind(**settings, out=path, own_blocks=own_blocks, opaque=opaque, device=device, as_json=as_json)
    if not large:
        _require_little(picture, told)
    made, _ = make_and_write(told, Surroundings(path, as_json), partial(_require_same, picture, how, told.network))
    facts = made.facts | {"picture": str(path)} | _compared(source, path)
    versions = {"blockprop": __version__, "torch": torch.__version__}
    if facts.get("same_pixels") is False and how.get("versions") != versions:
        made.notes = [*made.notes, f"{picture} was made with {how.get('versions')}, here it is {versions}"]
    print_made(made, facts, as_json)


def _require_same(picture: str, how: Mapping[str, Any], path: str | None, network: Network) -> None:
    """DataError if the picture was made with another network."""
    from blockprop.pictures.provenance import how_made

    there = how_made("", {}, network=network)
    if any(there[name] != how.get(name) for name in ("network", "classes")):
        raise DataError(f"{picture} was made with another network than {path}; --network names it")


def _require_no_code(picture: str, settings: Mapping[str, Any], own_blocks: str | None) -> None:
    """FormatError if a Python file would be run that a picture names, and nobody else."""
    from blockprop.commands.described_blocks import file_of

    for text in settings.get("transforms") or ():
        file = file_of(text)
        if file is not None and file != own_blocks:
            raise FormatError(
                f"{picture}: its settings name Python code to be run, {_short(file)}; if you trust it, --blocks says so"
            )


def _require_little(picture: str, told: PictureSettings) -> None:
    """FormatError if the settings ask for more than a picture's file may without being asked."""
    passes, pixels = told.work()
    if passes > MOST_PASSES or pixels > MOST_PIXELS_AT_ONCE:
        raise FormatError(
            f"{picture}: its settings ask for {passes:,} passes through the network and {pixels:,} pixels at once; "
            f"up to {MOST_PASSES:,} and {MOST_PIXELS_AT_ONCE:,} are made, and more with --large"
        )


def _settings(picture: str, how: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a picture's file, which anybody may have written.

    FormatError if they are of no command that is known here, or not what it takes.
    """
    from blockprop.commands.side_by_side import SIDE_BY_SIDE

    command, arguments = how.get("command"), how.get("arguments")
    if command == SIDE_BY_SIDE:
        raise SettingError(f"{picture} only shows other pictures; replay one of these: {_short(how.get('singles'))}")
    if not isinstance(command, str) or command not in PICTURE_COMMANDS:
        raise FormatError(f"{picture}: made by a command that is not known here, {_short(command)}")
    if not isinstance(arguments, dict) or "network" not in arguments:
        raise FormatError(f"{picture}: its settings are spoiled: there is no network among them")
    kind = PICTURE_COMMANDS[command]
    settings = kind.of_file(arguments) | {"seed": how.get("seed")}
    annotations = settings_in_file(kind) | {"network": str}
    for name, value in settings.items():
        if name not in annotations:
            raise FormatError(f"{picture}: {command} has no setting {_short(name)}{suggestion(name, annotations)}")
        if not _fits(value, annotations[name]) or _is_too_long(value):
            raise FormatError(f"{picture}: its settings are spoiled: {name} is {_short(value)}")
    files = how.get("pictures")
    if not isinstance(files, dict) or any(path not in files for path in settings.get("pictures") or ()):
        raise FormatError(f"{picture}: its settings are spoiled: it does not say which pictures it was made from")
    for name in required(kind):
        if name not in settings:
            raise FormatError(f"{picture}: its settings are spoiled: {name} is missing")
    try:
        kind(**settings).require_pictures()
    except SettingError as error:
        raise FormatError(f"{picture}: its settings are spoiled: {error}") from None
    return settings


def _is_too_long(value: Any) -> bool:
    """Whether a setting is, or one of a list of photographs."""
    parts = value if isinstance(value, list) else [value]
    return len(parts) > MOST_ENTRIES or any(len(str(part)) > LONGEST_SETTING for part in parts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of an annotation's type, a number finite, and a whole one within its option's bounds.

    A whole number may stand for a float.
    """
    hint = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    if not _is_of_type(value, hint) or not all(map(_is_finite, value if isinstance(value, list) else [value])):
        return False
    if not isinstance(value, int) or float in (hint, *typing.get_args(hint)):
        return True
    option = option_of(annotation)
    least, most = getattr(option, "min", None), getattr(option, "max", None)
    return (least or 0) <= value <= (LARGEST if most is None else most)


def _is_finite(value: Any) -> bool:
    from blockprop.pictures.preprocessing import LARGEST_NUMBER

    return not isinstance(value, int | float) or abs(value) <= LARGEST_NUMBER


def _is_of_type(value: Any, hint: Any) -> bool:
    if isinstance(hint, UnionType):
        return any(_is_of_type(value, kind) for kind in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        return isinstance(value, list) and all(_is_of_type(one, inner) for one in value)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return isinstance(value, hint)


def _same_file(picture: str, how: Mapping[str, Any], path: str) -> str:
    """Where a file lies that a picture was made from: where it was, or beside the picture. DataError if it changed."""
    from blockprop.commands.seeking import file_where
    from blockprop.pictures.provenance import file_digest

    file = file_where(path, Path(picture))
    if file_digest(file) != how["pictures"][path]:
        raise DataError(f"{file} is another picture than the one that {picture} was made from")
    return file


def _compared(source: Path, path: Path) -> dict[str, Any]:
    """Whether two pictures are the same, and if not, how they differ; nothing if JPEG is between them."""
    import torch

    from blockprop.pictures.picture_files import FORMAT_OF_SUFFIX, read_picture

    kinds = {FORMAT_OF_SUFFIX.get(file.suffix.lower()) for file in (source, path)}
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


def _print_settings(picture: str, how: Mapping[str, Any], settings: dict[str, Any], as_json: bool) -> None:
    """As a settings file, with which the command makes the picture again, from this folder or beside that file."""
    if as_json:
        show(how, as_json)
        return
    kind = PICTURE_COMMANDS[how["command"]]
    settings, missing = _found(settings, Path(picture))
    options = {parameter.name: option_of(parameter.annotation) for parameter in parameters(kind)}
    words = {key_of(name, options[name]): value for name, value in kind(**settings).words().items()}
    versions = how.get("versions")
    made = [f"{name} {number}" for name, number in versions.items()] if isinstance(versions, dict) else ["unknown"]
    comments = [f"made with {', '.join(made)}"]
    if settings.get("stop") is not None:
        comments.append(f"Ctrl-C stopped it after {settings['stop']} steps; with this file it goes on to the end")
    say_all(missing)
    comments += missing
    print(as_toml({COMMAND: kind.command} | words, comments))


def _found(settings: Mapping[str, Any], source: Path) -> tuple[dict[str, Any], list[str]]:
    """(the settings, with files where they lie now; which were not found, and where they were sought)."""
    from blockprop.commands.seeking import file_where, network_where, sought
    from blockprop.networks.shipped import is_saved, is_shipped
    from blockprop.pictures.preprocessing import NAMED

    found = dict(settings) | {"network": network_where(settings["network"], source)}
    missing = []
    if found["network"] == settings["network"] and not (
        is_shipped(found["network"]) or is_saved(Path(found["network"]))
    ):
        missing.append(found["network"])
    if settings.get("preprocessing") and settings["preprocessing"] not in NAMED:
        found["preprocessing"] = file_where(settings["preprocessing"], source)
        missing += [] if Path(found["preprocessing"]).exists() else [settings["preprocessing"]]
    if settings.get("pictures"):
        found["pictures"] = [file_where(file, source) for file in settings["pictures"]]
        missing += [file for file in found["pictures"] if not Path(file).exists()]
    return found, [sought(path, source) for path in dict.fromkeys(missing)]
