"""What every command takes besides its own options: --quiet, --verbose, --config; and how its errors name options."""

import copy
import inspect
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.models import OptionInfo

from blockprop.commands.console import Loudness, set_loudness, set_options
from blockprop.commands.loading import load
from blockprop.commands.naming import in_options, with_each_by_itself
from blockprop.commands.results import say_moved, set_forced, set_read
from blockprop.commands.settings_file import read_into, say_overruled
from blockprop.commands.unreadable import any_passed_over, forget
from blockprop.errors import BlockpropError, SettingError

GENERAL = "General"
"""The part of the help for options that all commands have."""
METAVARS: dict[type, str] = {bool: "", int: "N", float: "X", Path: "FILE", str: "TEXT"}
"""What stands for an option's value in the help."""


def _quiet(context: typer.Context, wanted: bool) -> bool:
    return _loudness(context, Loudness.QUIET, wanted)


def _force(context: typer.Context, wanted: bool) -> bool:
    if not context.resilient_parsing:
        set_forced(wanted)
    return wanted


def _verbose(context: typer.Context, wanted: bool) -> bool:
    return _loudness(context, Loudness.VERBOSE, wanted)


def _loudness(context: typer.Context, loudness: Loudness, wanted: bool) -> bool:
    if wanted and not context.resilient_parsing:
        before = context.find_root().meta.setdefault("blockprop loudness", loudness)
        if before is not loudness:
            raise SettingError("--quiet and --verbose do not go together")
        set_loudness(loudness)
    return wanted


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        metavar="",
        callback=_quiet,
        is_eager=True,
        expose_value=False,
        rich_help_panel=GENERAL,
        help="Print results and errors alone.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        metavar="",
        callback=_verbose,
        is_eager=True,
        expose_value=False,
        rich_help_panel=GENERAL,
        help="Say what was decided, too, and where an unexpected error arose.",
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        metavar="",
        callback=_force,
        is_eager=True,
        expose_value=False,
        rich_help_panel=GENERAL,
        help="Replace files that are there; otherwise results get a number behind their names.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=read_into,
        is_eager=True,
        expose_value=False,
        rich_help_panel=GENERAL,
        help="A .toml file with settings, named as the options here; the command line wins over it.",
    ),
]
COMMON = {"quiet": (Quiet, False), "verbose": (Verbose, False), "config": (Config, None), "force": (Force, False)}


def with_habits(function: Callable[..., None]) -> Callable[..., None]:
    """The command with the common options, whose errors name options where the library names arguments."""

    def command(context: typer.Context, **words: Any) -> None:
        load()
        say_overruled(context)
        set_options(context.command.params)
        forget()
        set_read(value for name, value in words.items() if name not in ("network", "named"))
        try:
            _require_no_blanks(context, words)
            function(**{name: value for name, value in words.items() if name not in COMMON})
            say_moved()
            if any_passed_over():
                raise typer.Exit(1)
        except BlockpropError as error:
            sentence = in_options(str(error), context.command.params)
            error.args = (with_each_by_itself(sentence, context.command.params, words), *error.args[1:])
            raise

    shown = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    shown += [_described(parameter) for parameter in inspect.signature(function, eval_str=True).parameters.values()]
    writes = any(parameter.name == "out" for parameter in shown)
    shown += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in COMMON.items()
        if writes or name != "force"
    ]
    command.__doc__ = function.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return command


def _require_no_blanks(context: typer.Context, words: dict[str, Any]) -> None:
    """SettingError for a text with nothing in it, such as "$NET" of a variable that is not set: no default is meant."""
    for param in context.command.params:
        given = words.get(str(param.name))
        for value in [] if given == param.default else given if isinstance(given, list) else [given]:
            if isinstance(value, str) and not value.strip():
                title = param.opts[0] if param.opts[0].startswith("-") else str(param.name).upper()
                raise SettingError(f"{title} has nothing in it: came {value!r}; leave it out, or say what is meant")


def _described(parameter: inspect.Parameter) -> inspect.Parameter:
    """The parameter with a short word for its value in the help."""
    hint, *extras = get_args(parameter.annotation) if get_origin(parameter.annotation) is Annotated else [None]
    described = [_with_metavar(hint, extra) if isinstance(extra, OptionInfo) else extra for extra in extras]
    annotation = Annotated[hint, *described] if extras else parameter.annotation
    return parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY)


def _with_metavar(hint: Any, option: OptionInfo) -> OptionInfo:
    if option.metavar is not None:
        return option
    option = copy.copy(option)
    option.metavar = METAVARS.get(_plain(hint))
    return option


def _plain(hint: Any) -> Any:
    """The type of one value: `list[str] | None` is text."""
    if isinstance(hint, UnionType):
        return _plain(next(kind for kind in get_args(hint) if kind is not type(None)))
    return get_args(hint)[0] if get_origin(hint) is list else hint
