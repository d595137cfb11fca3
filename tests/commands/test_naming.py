"""Errors name arguments in Python and options on the command line."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import blockprop
from blockprop.cli import app
from blockprop.commands.naming import in_options
from tests.commands.running import Output, sentence

PACKAGE = Path(blockprop.__file__).parent
CLICK: Any = typer.main.get_command(app)


@pytest.mark.parametrize(
    ("command", "message", "said"),
    [
        ("train", "try a smaller rate= or clip=", "try a smaller --rate or --clip"),
        ("train", "expected rate >= 0, came rate=-1.5", "expected --rate >= 0, came --rate -1.5"),
        ("train", "adam does not take lr=nan, weight_decay=0.1", "adam does not take --rate nan, --weight-decay 0.1"),
        (
            "train",
            "momentum in 0…1 and weight_decay >= 0",
            "--momentum in 0…1 and --weight-decay >= 0",
        ),
        ("train", "patience needs validation data", "--patience needs validation data"),
        ("train", "so it does not go with immediate", "so it does not go with --immediate"),
        ("stylize", "content_weight and style_weight are both 0", "--content-weight and --style-weight are both 0"),
        ("dream", "only the picture as a whole (tile=None)", "only the picture as a whole (--tile 0)"),
        ("saliency", "of 8 x 8 alone, side must be left out", "of 8 x 8 alone, --side must be left out"),
        ("maximize", "diversity_node='a' is for diversity", "--diversity-node a is for diversity"),
        (
            "train",
            "no column batch_size.csv or 'weight_decay'",
            "no column batch_size.csv or 'weight_decay'",
        ),
        ("train", "a batch of at least 2 and a size above all", "a batch of at least 2 and a size above all"),
        ("train", "pass channels=1 or channels=3 to", "pass --channels 1 or --channels 3 to"),
        ("train", "clip=1.0 does not go with immediate=True", "--clip 1.0 does not go with --immediate"),
        ("info", "pass shape=(3, 224, 224).", "pass --shape 3,224,224."),
        ("import", "constants={'a': …, 'b': 2} settles it", "--constant a=… --constant b=2 settles it"),
        ("dream", "say which layers dream, layers=…: it has none", "say which layers dream, --layer …: it has none"),
        ("maximize", "diversity needs count=2 or more", "--diversity needs --count 2 or more"),
        ("saliency", "pass load(path, blocks={'A': A}), or", "pass load(path, blocks={'A': A}), or"),
        ("sheet", "block 'a' (Resize(size=(3, 4), steps=2)) is odd", "block 'a' (Resize(size=(3, 4), steps=2)) is odd"),
        ("train", "expected name=value such as lion=0.5", "expected name=value such as lion=0.5"),
        ("evaluate", "a smaller rate= would do", "a smaller rate= would do"),
    ],
)
def test_arguments_that_are_options_are_named_so(command: str, message: str, said: str) -> None:
    assert in_options(message, CLICK.commands[command].params) == said


@pytest.mark.parametrize(
    "options",
    [
        ("--lr", "nan"),
        ("--rate", "-1"),
        ("--rate", "inf"),
        ("--momentum", "nan"),
        ("--momentum", "1"),
        ("--weight-decay", "nan"),
        ("--lr", "nan", "--optimizer", "adam"),
        ("--weight-decay", "-1", "--optimizer", "sgd"),
        ("--clip", "nan"),
        ("--clip", "0"),
        ("--average", "nan"),
        ("--average", "2"),
        ("--label-smoothing", "nan"),
        ("--label-smoothing", "1.5"),
        ("--test-fraction", "nan"),
        ("--validation-fraction", "nan"),
        ("--validation-fraction", "1"),
    ],
    ids=" ".join,
)
def test_a_number_that_is_refused_is_named_by_its_option(options: tuple[str, ...], capsys: Output) -> None:
    name, value = ("--rate" if options[0] == "--lr" else options[0]), options[1]
    said = sentence(capsys, "train", "digits", *options)
    assert any(f"{name} {behind}" in said for behind in (value, float(value), "must")), said


def test_the_library_itself_names_no_options() -> None:
    """Its errors reach people who write Python, who have none."""
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "commands" or path.name in ("cli.py", "errors.py"):
            continue
        tree = ast.parse(path.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                assert not re.search(r"(?<![\w-])--[a-z]", node.value), f"{path.name}, line {node.lineno}: {node.value}"
