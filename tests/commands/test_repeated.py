"""No command takes the last of several values in silence."""

import pytest
import typer

from blockprop.cli import COMMANDS, app
from tests.commands.running import PHOTO, Output, sentence

CLI = typer.main.get_command(app)
SINGLE = [
    (name, max(param.opts, key=len))
    for name in COMMANDS
    for param in CLI.commands[name].params
    if param.param_type_name == "option" and not (param.multiple or param.is_flag or param.count)
]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_takes_one_value_is_refused_twice(name: str, capsys: Output) -> None:
    arguments = ["x"] * sum(param.param_type_name == "argument" for param in CLI.commands[name].params)
    options = [option for command, option in SINGLE if command == name]
    assert options
    for option in options:
        said = sentence(capsys, name, *arguments, option, "1", f"{option}=1", code=2)
        assert f"{option} takes one value, and is given 2 times (see blockprop {name} --help)" in said


@pytest.mark.usefixtures("network_and_photo")
def test_short_and_long_spellings_are_one_option(capsys: Output) -> None:
    said = sentence(capsys, "segment", PHOTO, "-t", "red fox", "--target", "gray wolf", code=2)
    assert "--target takes one value, and is given 2 times" in said
