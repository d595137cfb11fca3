"""The command line: what it prints where, its exit codes, and its sentences for what goes wrong."""

import importlib
import json
import re
from pathlib import Path

import pytest

from blockprop import commands
from blockprop.cli import COMMANDS, main
from blockprop.commands.picture_commands import PICTURE_COMMANDS
from blockprop.commands.picture_settings import PictureSettings
from blockprop.native.library import status
from tests.commands.running import Output, sentence


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nothing.csv"], 1, r"nothing\.csv: there is no such file .* digits"),
        (["train", "digits", "--networ", "mlp"], 2, r"did you mean --network\? .*blockprop train --help"),
        (["trane"], 2, r"there is no command 'trane'; did you mean train"),
        (["train"], 2, r"[Mm]issing argument"),
        (["train", "digits", "--epochs", "many"], 2, r"--epochs"),
        (["train", "digits", "--epochs", "0"], 2, r"--epochs"),
        (["train", "digits", "--network", "mpl:3"], 1, r"did you mean 'mlp'"),
        (["train", "digits", "--network", "mlp:a"], 1, r"mlp:128,64"),
        (["train", "iris", "--network", "lenet"], 1, r"lenet takes pictures"),
        (["train", "digits", "--optimizer", "adm"], 1, r"did you mean .*'adam'"),
        (["train", "digits", "--schedule", "cosin"], 1, r"did you mean 'cosine'"),
        (["train", "digits", "--loss", "cross"], 1, r"there is no loss 'cross'"),
        (["train", "diabetes", "--label-smoothing", "0.1", "--loss", "huber"], 1, r"huber has none"),
        (["train", "digits", "--resume"], 1, r"there is no checkpoint network\.safetensors\.checkpoint"),
        (["train", "digits", "--optimizer", "sparseadam"], 1, r"there is no optimizer"),
        (["train", "digits", "--seed", "9" * 30], 2, r"--seed"),
        (["train", "digits", "--rate", "nan"], 1, r"--rate >= 0"),
        (["train", "digits", "--out", "/proc/no/x.safetensors"], 1, r"could not be written"),
        (["train", "digits", "--patience", "2", "--validation-fraction", "0"], 1, r"--patience needs validation data"),
        (["diagram", "lenet", "--out", "lenet.png"], 1, r"lenet\.svg, came lenet\.png"),
        (["demo", "--out", "/proc/no"], 1, r"could not be written"),
        (["check", "lenet"], 1, r"16 x 16"),
        (["train", "digits", "--device", "cuda:99"], 1, r"device 'cuda:99' cannot be used"),
        (["train", "digits", "--device", "toaster"], 1, r"device 'toaster' cannot be used"),
        (
            ["train", "digits", "--clip", "1", "--immediate"],
            1,
            r"--clip needs all .* not go with --immediate",
        ),
        (["evaluate", "nothing.safetensors", "digits"], 1, r"nothing\.safetensors"),
        (["check", "Conv2d(3, 8, 3)"], 1, r"--shape 2,3,8,8"),
        (["check", "Conv2d(3, 8, 3)", "--shape", "2,5,8,8"], 1, r"expected \(n, 3, h, w\), came \(2, 5, 8, 8\)"),
        (["check", "Conv2d(3, 8, 3)", "--shape", "a,b"], 1, r"such as 2,3,8,8"),
        (["check", "Conv2d(print(1))", "--shape", "1"], 1, r"does not describe a block"),
        (["diagram", "lenet", "--out", "/proc/no/such.svg"], 1, r"could not be written"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(capsys: Output, arguments: list[str], code: int, said: str) -> None:
    assert re.search(said, sentence(capsys, *arguments, code=code))
    assert not list(Path().glob("*.safetensors"))


def test_errors_are_json_too(capsys: Output) -> None:
    assert main(["train", "nothing.csv", "--json"]) == 1
    assert "nothing.csv" in json.loads(capsys.readouterr().out)["error"]


def test_help_has_examples(capsys: Output) -> None:
    for command in ("train", "evaluate", "predict", "check", "diagram", "demo"):
        assert main([command, "--help"]) == 0
        assert "blockprop " + command in capsys.readouterr().out
    assert main(["--version"]) == 0
    version, kernels = capsys.readouterr().out.splitlines()
    assert version.startswith("blockprop 0.")
    assert kernels == f"native kernels: {status()}"


def test_every_command_has_its_line() -> None:
    """A file in commands/ that says how its help ends is a command, and so is each class of settings of pictures."""
    for path in sorted(Path(commands.__path__[0]).glob("*.py")):
        file = importlib.import_module(f"blockprop.commands.{path.stem}")
        functions = {function.__module__ for function, _ in COMMANDS.values()}
        assert not hasattr(file, "EPILOG") or file.__name__ in functions, f"no line for {path.name} in blockprop/cli.py"
        for kind in vars(file).values():
            if isinstance(kind, type) and issubclass(kind, PictureSettings) and hasattr(kind, "command"):
                table = "blockprop/commands/picture_commands.py"
                assert PICTURE_COMMANDS.get(kind.command) is kind, f"no line for {kind.__name__} in {table}"


def test_every_command_has_a_test() -> None:
    missing = [name for name in COMMANDS if not Path(__file__).with_name(f"test_{name}.py").exists()]
    assert not missing, f"write {', '.join(f'tests/commands/test_{name}.py' for name in missing)}"
