"""The settings of a command that makes a picture: a dataclass for each, from which everything else derives.

Its fields are the options of the command line, the settings in the picture's file, and what `make` reads; `replay`
checks a stranger's file by their types and bounds. Those marked OPTION_ONLY change nothing in the picture, and do not
stand in its file. Those without an option are worked out by `completed`; SETTING_ONLY marks what not even that says.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from typer.models import ArgumentInfo, ParameterInfo

from blockprop.commands.options import Blocks, Device, Json, OpaqueNodes, PreprocessingOption
from blockprop.commands.picture_options import OPTION_ONLY, SETTING_ONLY, NetworkFile, PictureSeed, Report
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.network import Network
    from blockprop.reports.page import Section


IF_SAID = ("stop", "preprocessing")
"""Settings that a picture's file holds only where there is something to say."""


@dataclass(frozen=True)
class Surroundings:
    """What a run writes beside its picture, and how loudly; none of it changes the picture.

    out: where the picture goes.   preview_every: steps between two previews beside it.   state: where to keep what a
    run goes on from; None for nowhere.   resume: go on from that.   how: all that the picture's file will say.
    """

    out: Path
    quiet: bool = False
    preview_every: int | None = None
    state: Path | None = None
    resume: bool = False
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def preview(self) -> Path:
        return self.out.with_name(f"{self.out.stem}.preview{self.out.suffix}")


@dataclass
class Made:
    """What a command has made: the picture, facts and a table to print, and sections for a page.

    stopped: after how many steps Ctrl-C ended the run; None if nothing did.
    """

    picture: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    table: Sequence[Sequence[str]] = ()
    sections: list[Section] = field(default_factory=list)
    notes: Sequence[str] = ()
    stopped: int | None = None


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """What every command that makes a picture is told.

    command: its name.   epilog: of its help.   least_pictures: so many are read at least.   keeps_state: whether Ctrl-C
    leaves a state to go on from.   pictures_choose_network: whether the network that comes with the package is chosen
    by the pictures that are read.
    """

    command: ClassVar[str]
    epilog: ClassVar[str]
    least_pictures: ClassVar[int] = 0
    keeps_state: ClassVar[bool] = False
    pictures_choose_network: ClassVar[bool] = True

    network: NetworkFile = None
    out: Annotated[Path | None, OPTION_ONLY] = None
    preview_every: Annotated[int | None, OPTION_ONLY] = None
    resume: Annotated[bool, OPTION_ONLY] = False
    report: Annotated[Report, OPTION_ONLY] = None
    own_blocks: Annotated[Blocks, OPTION_ONLY] = None
    opaque: Annotated[OpaqueNodes, OPTION_ONLY] = False
    preprocessing: PreprocessingOption = None
    seed: PictureSeed = 0
    device: Annotated[Device, OPTION_ONLY] = "cpu"
    as_json: Annotated[Json, OPTION_ONLY] = False

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings in a file, with what older files lack or call otherwise, as it was when these were made."""
        return dict(settings)

    def completed(self) -> Self:
        """With what the words of the command line come to: where the picture goes, which pictures are read.

        Raises SettingError for what makes no sense, before any work is done.
        """
        raise NotImplementedError

    def require_pictures(self) -> None:
        """Raise SettingError unless as many pictures are read as the other settings speak of."""
        if len(getattr(self, "pictures", None) or ()) < self.least_pictures:
            raise SettingError("there is no picture among them")

    def singly(self) -> dict[str, Self]:
        """{caption: settings} of pictures that are each made for themselves and put side by side; none if it is one."""
        return {}

    def told(self) -> bool:
        """Whether what is asked for makes no picture, and was printed at once."""
        return False

    def work(self) -> tuple[int, int]:
        """(passes through the network that they ask for, about; pixels at once), where a setting says how many."""
        return 1, 1

    def make(self, network: Network, around: Surroundings) -> Made:
        """The picture, from these settings alone."""
        raise NotImplementedError

    def words(self) -> dict[str, Any]:
        """What the command line would say for the same picture, by the names of the options' fields."""
        shown = {parameter.name for parameter in parameters(type(self))}
        return {name: getattr(self, name) for name in settings_in_file(type(self)) if name in shown}

    def beside(self) -> list[Path]:
        """Other files that are written, which are no previews, states or pages."""
        return []

    def pictures_read(self) -> list[str]:
        """The pictures that it is made from."""
        return list(getattr(self, "pictures", None) or ())

    @property
    def page(self) -> Path | None:
        return self.report / "index.html" if self.report else None

    def kept(self) -> dict[str, Any]:
        """What the picture's file says of them."""
        values = {name: getattr(self, name) for name in settings_in_file(type(self))}
        return {name: value for name, value in values.items() if name not in IF_SAID or value is not None}


def _annotations(kind: type[PictureSettings]) -> dict[str, Any]:
    """The annotations of all fields: the network, then the command's own in their order, then what all have."""
    hints = typing.get_type_hints(kind, include_extras=True)
    of_command = inspect.get_annotations(kind)
    names = {setting.name for setting in fields(kind)}
    order = dict.fromkeys(["network", *of_command, *inspect.get_annotations(PictureSettings)])
    return {name: hints[name] for name in order if name in names}


def option_of(annotation: Any) -> ParameterInfo | None:
    """The option or argument of an annotation, if there is one."""
    extras = getattr(annotation, "__metadata__", ())
    return next((extra for extra in extras if isinstance(extra, ParameterInfo)), None)


def settings_in_file(kind: type[PictureSettings]) -> dict[str, Any]:
    """{name: annotation} of the settings that stand in a picture's file."""
    return {
        name: annotation
        for name, annotation in _annotations(kind).items()
        if OPTION_ONLY not in getattr(annotation, "__metadata__", ())
    }


def required(kind: type[PictureSettings]) -> list[str]:
    """The names of those that have no default."""
    return [
        setting.name for setting in fields(kind) if setting.default is MISSING and setting.default_factory is MISSING
    ]


def parameters(kind: type[PictureSettings]) -> list[inspect.Parameter]:
    """The options and arguments of the command line; an argument is left out only if its default is None."""
    defaults = {setting.name: setting.default for setting in fields(kind)}
    shown = []
    for name, annotation in _annotations(kind).items():
        option = option_of(annotation)
        if option is None or SETTING_ONLY in annotation.__metadata__:
            continue
        has_default = defaults[name] is None if isinstance(option, ArgumentInfo) else defaults[name] is not MISSING
        default = defaults[name] if has_default else inspect.Parameter.empty
        shown.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    return shown
