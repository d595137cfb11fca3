"""The settings of commands that make pictures: one dataclass for each, from which all else derives."""

import dataclasses
import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import pytest
import torch
import typer

from blockprop.cli import app, main
from blockprop.commands.picture_commands import PICTURE_COMMANDS, as_function
from blockprop.commands.picture_options import OPTION_ONLY, Samples
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings, settings_in_file
from blockprop.engine.network import Network
from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.visualize import dream, maximize, sanity, segment, stylize
from tests.commands.running import Output, run_json, sentence

pytestmark = pytest.mark.usefixtures("network_and_photo")

ASCENT = {"network", "targets", "size", "steps", "rate", "canvas", "transforms", "l2", "total_variation", "doubt"}
ASCENT |= {"output", "seed", "stop", "roomy"}
MAPS = {"network", "pictures", "samples", "crop", "side", "output", "seed"}
IN_FILES = {
    "saliency": MAPS | {"targets", "methods", "kind", "sigma", "node", "grid", "strict"},
    "segment": MAPS | {"target", "method", "foreground", "background", "rounds", "smooth", "hold"},
    "sanity": MAPS | {"target", "methods"},
    "maximize": ASCENT | {"pictures", "start", "optimizer", "count", "diversity", "diversity_node", "redirect_steps"},
    "sheet": ASCENT | {"most", "at_once", "columns"},
    "dream": {"network", "pictures", "start", "guided", "layers", "size", "steps", "octaves", "octave_scale", "rate"}
    | {"jitter", "frames", "zoom", "rotation", "tile", "seed", "stop", "enlarges"},
    "stylize": {"network", "pictures", "weights", "masks", "start", "size", "steps", "content_weight", "style_weight"}
    | {"total_variation", "content_layers", "style_layers", "style_scale", "colors", "optimizer", "rate", "scales"}
    | {"details", "tile", "seed", "stop"},
}


@dataclass(frozen=True, kw_only=True)
class GraySettings(PictureSettings):
    """Paint a gray picture."""

    command = "gray"
    epilog = "Example:\n\nblockprop gray"

    level: Annotated[float, typer.Option(help="0…1.")] = 0.5
    samples: Samples = 3
    loud: Annotated[bool, typer.Option("--loud"), OPTION_ONLY] = False

    def completed(self) -> Self:
        return replace(self, out=Path("gray.png"))

    def make(self, network: Network, around: Surroundings) -> Made:
        return Made(torch.full((3, 8, 8), self.level))


@pytest.fixture
def _gray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PICTURE_COMMANDS, "gray", GraySettings)
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    app.command("gray")(as_function(GraySettings))


@pytest.mark.parametrize("command", IN_FILES)
def test_pictures_of_today_are_read_tomorrow(command: str) -> None:
    assert set(settings_in_file(PICTURE_COMMANDS[command])) == IN_FILES[command] | {"preprocessing", "memory"}


@pytest.mark.usefixtures("_gray")
def test_a_new_command_is_its_settings_and_a_line_in_the_table(capsys: Output) -> None:
    run_json(capsys, "gray", "--level", "0.2", "--loud")
    assert read_settings("gray.png")["arguments"] == {"network": "net.safetensors", "level": 0.2, "samples": 3}
    assert float(read_picture("gray.png").mean()) == pytest.approx(0.2)
    assert run_json(capsys, "replay", "gray.png")["same_pixels"]
    assert main(["gray", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Paint a gray picture." in shown
    assert "[default: 0.5]" in shown


@pytest.mark.usefixtures("_gray")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"level": "dark"}, "level is 'dark'"),
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2**31}, "samples is 2147483648"),
        ({"samples": True}, "samples is True"),
        ({"loud": True}, "gray has no setting 'loud'"),
        ({"levl": 0.2}, "did you mean 'level'"),
    ],
    ids=str,
)
def test_a_strangers_settings_are_checked_by_type_and_bounds(change: dict, reason: str, capsys: Output) -> None:
    run_json(capsys, "gray")
    how = read_settings("gray.png")
    write_picture("gray.png", read_picture("gray.png")[0], how | {"arguments": how["arguments"] | change})
    assert reason in sentence(capsys, "replay", "gray.png")


def test_what_has_no_default_must_be_there(capsys: Output) -> None:
    run_json(capsys, "maximize", "gray wolf", "--steps", "1", "-o", "a.png")
    how = read_settings("a.png")
    del how["arguments"]["targets"]
    write_picture("a.png", read_picture("a.png")[0], how)
    assert "its settings are spoiled: targets is missing" in sentence(capsys, "replay", "a.png")


FUNCTIONS = {"maximize": maximize, "dream": dream, "stylize": stylize, "segment": segment, "sanity": sanity}
"""What a command's settings are handed to."""


@pytest.mark.parametrize("command", FUNCTIONS)
def test_a_setting_has_one_default_on_the_command_line_and_in_python(command: str) -> None:
    parameters = inspect.signature(FUNCTIONS[command]).parameters
    both = {
        field.name: (field.default, parameters[field.name].default)
        for field in dataclasses.fields(PICTURE_COMMANDS[command])
        if field.name in parameters and parameters[field.name].default is not inspect.Parameter.empty
    }
    both.pop("size", None)  # a command scales photographs down unless it is told not to
    assert both
    assert {name: pair for name, pair in both.items() if not _alike(*pair)} == {}


def _alike(shown: object, default: object) -> bool:
    """An option that is left out is None or an empty list, where Python has None, an empty tuple or its own choice."""
    return shown == default or (not shown and not default) or shown is dataclasses.MISSING or shown is None
