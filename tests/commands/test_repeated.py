"""No command takes the last of several values in silence."""

import re

import pytest
import typer

from blockprop.cli import COMMANDS, app, main
from blockprop.pictures.picture_files import read_settings
from blockprop.saving.storage import save
from tests.commands.running import PHOTO, Output, run_json, sentence, small

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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["saliency", PHOTO, "-t", "red fox,gray wolf"], '--target "red fox" --target "gray wolf"'),
        (["saliency", PHOTO, "-m", "gradient, guided"], "--method gradient --method guided"),
        (["dream", PHOTO, "-l", "relu1,relu2"], "--layer relu1 --layer relu2"),
        (["maximize", "red fox,green frog"], '"red fox" "green frog"'),
        (["sheet", "relu1,relu2"], "relu1 relu2"),
        (["train", "iris", "--drop", "petal length (cm),petal width (cm)"], '--drop "petal length (cm)" --drop'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("network_and_photo")
def test_several_values_in_one_text(arguments: list[str], said: str, capsys: Output) -> None:
    assert f"; several are given one by one: {said}" in sentence(capsys, *arguments)


@pytest.mark.usefixtures("network_and_photo")
def test_a_class_may_have_commas_in_its_name(capsys: Output) -> None:
    network = small()
    network.meta["classes"] = ["red fox, Vulpes vulpes", "b", "c", "d"]
    save(network, "net.safetensors")
    found = run_json(capsys, "saliency", PHOTO, "-t", "red fox, Vulpes vulpes")
    assert found["saliency"][0]["target"] == "red fox, Vulpes vulpes"


@pytest.mark.parametrize(
    "spelled", [["-t", "gray wolf"], ["-tgray wolf"], ["--target", "gray wolf"], ["--target=gray wolf"]]
)
@pytest.mark.parametrize("command", ["maximize", "sheet"])
@pytest.mark.usefixtures("network_and_photo")
def test_a_target_is_asked_for_by_the_same_option_everywhere(command: str, spelled: list[str], capsys: Output) -> None:
    for out, words in (("a.png", ["red fox", *spelled]), ("b.png", ["red fox", "gray wolf"]), ("c.png", spelled)):
        run_json(capsys, command, *words, "--steps", "1", "-o", out)
    (one, same, alone) = (read_settings(out)["arguments"]["targets"] for out in ("a.png", "b.png", "c.png"))
    assert (one, alone) == (same, ["gray wolf"])
    assert "-t needs a target behind it" in sentence(capsys, command, "red fox", "-t", code=2)
    assert main([command, "--help"]) == 0
    assert "-t TARGET says" in re.sub(r"[│\s]+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("command", "there"),
    [
        (
            ["maximize", "gray wolv"],
            "its classes are red fox, green frog, blue whale, gray wolf; `blockprop info` tells its nodes",
        ),
        (["maximize", "rellu1:3"], "its nodes are "),
        (["dream", PHOTO, "-l", "rellu1"], "its layers are "),
        (["saliency", PHOTO, "-m", "grad_cam", "-l", "rellu1", "-q"], "its nodes are "),
        (["predict", "net.safetensors", PHOTO, "--output", "rellu1"], "its own: scores"),
        (["saliency", PHOTO, "-n", "picturs"], ""),
    ],
    ids=lambda value: "_".join(value[::3]) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("network_and_photo")
def test_near_names_come_after_what_there_is(command: list[str], there: str, capsys: Output) -> None:
    said = sentence(capsys, *command)
    assert there in said
    assert "?;" not in said
