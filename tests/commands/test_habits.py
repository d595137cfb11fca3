"""What all commands have in common: spellings of options, loudness, completion, help."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import typer

from blockprop.cli import COMMANDS, app, main
from blockprop.commands import demo
from tests.commands.running import Output, run_json, sentence

CLICK: Any = typer.main.get_command(app)
SHORT = {"--network": "-n", "--out": "-o", "--target": "-t", "--method": "-m", "--layer": "-l"}
SHORT |= {"--quiet": "-q", "--verbose": "-v", "--help": "-h", "--version": "-V"}
SPELLINGS = {"--rate": {"--lr", "--learning-rate"}, "--batch-size": {"--batch"}}


def options_of(command: str) -> list[Any]:
    context = typer.Context(CLICK.commands[command], parent=typer.Context(CLICK, **CLICK.context_settings))
    return [param for param in CLICK.commands[command].get_params(context) if param.param_type_name == "option"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_has_the_same_spellings_in_every_command(command: str) -> None:
    """One short letter for each long name, and one long name for each short letter."""
    for param in options_of(command):
        shorts = {spelling for spelling in param.opts if not spelling.startswith("--")}
        expected = {SHORT[spelling] for spelling in param.opts if spelling in SHORT}
        assert shorts == expected, param.opts
        for name, others in SPELLINGS.items():
            assert name not in param.opts or others <= set(param.opts)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_common_options(command: str) -> None:
    spellings = {spelling for param in options_of(command) for spelling in param.opts}
    assert {"--quiet", "--verbose", "--config", "--json", "--help"} <= spellings


@pytest.mark.parametrize("command", COMMANDS)
def test_who_takes_a_network_takes_it_as_an_option(command: str) -> None:
    words = [f"{param.metavar}" for param in CLICK.commands[command].params if param.param_type_name == "argument"]
    assert not any("NETWORK" in word for word in words) or any("-n" in param.opts for param in options_of(command))


def test_a_network_is_named_once(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_json(capsys, "info", "-n", "digits")["network"] == "digits"
    assert "two networks are named" in sentence(capsys, "info", "pictures", "-n", "digits")
    assert "two networks are named" in sentence(capsys, "evaluate", "pictures", "digits", "-n", "digits")
    monkeypatch.setenv("BLOCKPROP_NETWORK", "pictures")
    assert run_json(capsys, "info", "-n", "digits")["network"] == "digits"
    assert run_json(capsys, "evaluate", "digits", "-n", "digits")["network"] == "digits"


def test_a_network_that_is_not_there_has_near_names(capsys: Output) -> None:
    Path("squeezenet.safetensors").write_bytes(b"")
    said = sentence(capsys, "info", "sqeezenet.safetensors")
    assert "sqeezenet.safetensors does not exist; did you mean squeezenet.safetensors?" in said
    assert "did you mean pictures?" in sentence(capsys, "info", "picture")
    Path("squeezenet.safetensors").unlink()
    assert "none.safetensors does not exist; expected" in sentence(capsys, "info", "none.safetensors")


def test_the_bare_command_prints_its_help_and_no_error(capsys: Output) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert "Usage: blockprop" in printed.out
    assert printed.err == ""


def test_quiet_says_nothing_but_results_and_errors(capsys: Output) -> None:
    for arguments in (["train", "digits", "--epochs", "1", "-q"], ["-q", "train", "digits", "--epochs", "1"]):
        assert main([*arguments, "-n", "mlp:4"]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert "accuracy" in printed.out
    assert "no such file" in sentence(capsys, "-q", "train", "nothing.csv")
    assert "do not go together" in sentence(capsys, "train", "digits", "-q", "-v")


def test_verbose_shows_where_an_unexpected_error_arose(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("blockprop.commands.demo_page.run_demo", broken)
    assert "by nothing (--verbose shows where)" in sentence(capsys, "demo")
    assert main(["demo", "-v"]) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "in broken" in told
    assert "this should not have happened" in told
    assert "--verbose" not in sentence(capsys, "train", "nothing.csv")  # an error that is foreseen


def test_completion_can_be_installed(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert main(["--help"]) == 0
    assert "--install-completion" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--show-completion", "bash"])
    assert "complete" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described(command: str) -> None:
    for param in CLICK.commands[command].params:
        assert param.help, param.opts
        assert param.help.rstrip().endswith((".", "…")), param.help


def test_the_commands_are_functions_of_their_own_options() -> None:
    for function, _ in COMMANDS.values():
        assert not {"quiet", "verbose", "config"} & set(inspect.signature(function).parameters)
    assert Path(demo.__file__).name == "demo.py"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["diagram", ""], "NETWORK"),
        (["predict", "-n", " ", "x.png"], "--network"),
        (["step", "digits", "--data", ""], "--data"),
        (["saliency", "x.png", "-t", "3", "-t", ""], "--target"),
        (["train", ""], "DATA"),
        (["explain", "lecture", "--of", ""], "--of"),
    ],
    ids=str,
)
def test_nothing_in_a_text_is_no_default(arguments: list[str], named: str, capsys: Output) -> None:
    assert f"{named} has nothing in it" in sentence(capsys, *arguments)
