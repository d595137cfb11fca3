"""Mistyped options and commands, and those that people know from other tools: what is meant, or nothing."""

import pytest
import typer

from blockprop.cli import COMMANDS, app
from blockprop.commands.mistyped import COMMANDS_ELSEWHERE, OPTIONS_ELSEWHERE
from tests.commands.running import Output, sentence

CLI = typer.main.get_command(app)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ("train digits --model x", "--network"),
        ("train digits --gpu 0", "--device"),
        ("train digits --bs 3", "--batch-size"),
        ("train digits --batch_size 3", "--batch-size"),
        ("train digits --learning_rate 3", "--learning-rate"),
        ("train digits --epoch 3", "--epochs"),
        ("train digits --opimizer x", "--optimizer"),
        ("train digits --foo 3", None),
        ("train digits --class x", "--target"),
        ("predict a.npz --topk 3", "--top"),
        ("info pictures --gpu 0", None),
        ("classify x", "predict"),
        ("fit x", "train"),
        ("salience x", "saliency"),
        ("trane x", "train"),
        ("foo x", None),
    ],
)
def test_what_is_really_near_or_known_elsewhere_is_meant(arguments: str, meant: str | None, capsys: Output) -> None:
    said = sentence(capsys, *arguments.split(), code=2)
    assert "--help)" in said
    assert ("did you mean" in said) == (meant is not None), said
    if meant is not None:
        assert f"; did you mean {meant}?" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("evaluate digits x.npz --batch 7", "there is no option --batch; train and info have it (see "),
        (
            "evaluate digits x.npz --batch_size 7",
            "there is no option --batch_size; train and info have --batch-size (see ",
        ),
        ("evaluate digits x.npz --bs 7", "there is no option --bs; train and info have --batch-size (see "),
        ("info digits --epochs 7", "there is no option --epochs; train has it (see "),
        ("info digits --top 7", "there is no option --top; predict has it (see "),
        ("info digits --gpu 0", "there is no option --gpu (see "),
        ("train digits --foo 3", "there is no option --foo (see "),
    ],
)
def test_an_option_of_another_command_is_named_with_it(arguments: str, said: str, capsys: Output) -> None:
    assert said in sentence(capsys, *arguments.split(), code=2)


def test_help_as_a_command(capsys: Output) -> None:
    assert "blockprop COMMAND --help" in sentence(capsys, "help", "train", code=2)


def test_what_is_meant_is_there() -> None:
    options = {text for command in CLI.commands.values() for param in command.params for text in param.opts}
    assert options.issuperset(OPTIONS_ELSEWHERE.values())
    assert options.isdisjoint(OPTIONS_ELSEWHERE), "what exists needs no other word"
    assert set(COMMANDS).issuperset(COMMANDS_ELSEWHERE.values())
    assert set(COMMANDS).isdisjoint(COMMANDS_ELSEWHERE)


def test_an_option_of_several_spellings_is_named_by_its_first(capsys: Output) -> None:
    said = sentence(capsys, "train", "iris", "--lr", "1,5", code=2)
    assert said == "blockprop: --rate: expected a valid number (see blockprop train --help)"
