"""The commands that make pictures, and how the command line and `replay` come to them."""

import inspect
from collections.abc import Callable
from typing import Any

from blockprop.commands.dream import DreamSettings
from blockprop.commands.maximize import MaximizeSettings
from blockprop.commands.picture_settings import PictureSettings, parameters
from blockprop.commands.saliency import SaliencySettings
from blockprop.commands.sanity import SanitySettings
from blockprop.commands.segment import SegmentSettings
from blockprop.commands.sheet import SheetSettings
from blockprop.commands.stylize import StylizeSettings

PICTURE_COMMANDS: dict[str, type[PictureSettings]] = {
    kind.command: kind
    for kind in (
        SaliencySettings,
        SegmentSettings,
        SanitySettings,
        MaximizeSettings,
        SheetSettings,
        DreamSettings,
        StylizeSettings,
    )
}
"""By name, in the order of the help."""


def as_function(kind: type[PictureSettings]) -> Callable[..., None]:
    """The function that typer makes a command of: its parameters are the options among the settings."""

    def command(**words: Any) -> None:
        from blockprop.commands.making import run_command
        from blockprop.commands.side_by_side import make_side_by_side

        settings = kind(**words)
        if singles := settings.singly():
            make_side_by_side(settings, singles)
        else:
            run_command(settings.completed())

    shown = parameters(kind)
    command.__doc__ = kind.__doc__
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    return command
