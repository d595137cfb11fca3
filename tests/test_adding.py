"""CONTRIBUTING's table "to add X, touch Y" is true: in a copy of the project, each place left out complains by name.

A small block, objective, rule, saliency method and command are added place after place. As long as a place is missing,
the tests fail, and say nothing but where it is; when all are there, they pass.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Place:
    """One place to touch: text that goes to the end of a file, or before lines that are in it."""

    file: str
    text: str = ""
    inserted: tuple[tuple[str, str], ...] = ()
    """(text, the line before which it goes)"""

    def touch(self, root: Path) -> None:
        path = root / self.file
        content = path.read_text() if path.exists() else ""
        for text, line in self.inserted:
            assert line in content, f"{self.file} no longer has {line!r}: mend this test"
            start = content.rindex(line)
            content = content[:start] + text + content[start:]
        path.write_text(content + self.text)


@dataclass(frozen=True)
class Addition:
    """All places for one thing.

    tests: those that ask for the places, as arguments of pytest.   whole: files that must pass when all are there.
    """

    places: list[Place]
    tests: list[str]
    whole: list[str]


BLOCK = '''

class Doubled(Block):
    """Twice the input:  y = 2 x,  d_x = 2 d_y."""

    kind = "activation"
    gate = ""

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return 2 * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple[Tensor]:
        return (2 * d_y,)
'''
OBJECTIVE = '''@dataclass(frozen=True, eq=False, repr=False)
class quartic_error(Loss):
    """The fourth power of what is wrong:  L = mean (y - t)⁴.    seed = 4 (y - t)³ / elements"""

    task = "regress"
    node: str | None = None

    def of(self, y: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        wrong = y - matching(y, target)
        return (wrong**4).mean(), 4 * wrong**3 / max(y.numel(), 1)


'''
ROW = """
from blockprop.engine.objectives import quartic_error

OBJECTIVES += [ObjectiveCase(quartic_error(), numbers(6), lambda y, t: ((y - t) ** 4).mean())]
"""
RULE = '''

@at_rectifiers
def halved(_place: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    """Half of the error goes back:  d_x = d_x of the block / 2."""
    (d_x,) = block.propagate(saved, d_y)
    assert d_x is not None
    return (d_x / 2,)
'''
HALVED = '''

class Halved(Guided):
    """d_x = d_y / 2 where x > 0."""

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) & (x < ctx.high), d_y / 2, 0), None


ORACLES["halved"] = Halved
'''
METHOD = '''

def summed_gradient(question: Question, x: Tensor, rules: object) -> Answer:
    """∂S/∂x; the map is its size, summed over the channels."""
    d_x = question.gradient(x, rules)
    question.require_influence(d_x)
    return Answer(d_x, d_x.abs().sum(1))


METHODS["summed_gradient"] = Method(summed_gradient, "w = ∂S/∂x, map = its sum over the channels, of |w|")
'''
SUMMED = """

def _summed_gradient(network: Network, x: Tensor, number: int) -> Explained:
    d_x = autograd_of(network, x, number)
    return d_x, d_x.abs().sum(1)


ORACLES["summed_gradient"] = (_summed_gradient, {})
"""
GREET = '''"""`blockprop greet`: a word."""

from blockprop.commands.options import Json

EPILOG = "Example:\\n\\nblockprop greet"


def greet(as_json: Json = False) -> None:
    """Say hello."""
    print("hello")
'''
GREETED = """from blockprop.cli import main


def test_greet(capsys):
    assert main(["greet"]) == 0
    assert capsys.readouterr().out == "hello\\n"
"""
SAID = ["tests/commands/test_choices.py"]
"""Where the help is compared with what there is."""
ADDITIONS = {
    "a block": Addition(
        [
            Place("blockprop/blocks/thresholds.py", BLOCK),
            Place(
                "blockprop/blocks/__init__.py",
                inserted=(
                    (
                        "from blockprop.blocks.thresholds import Doubled as Doubled\n",
                        "from blockprop.blocks.thresholds import Shrink",
                    ),
                ),
            ),
            Place("tests/cases/thresholds.py", "\nCASES += [Case(blocks.Doubled, ((3, 4),), of_x(lambda x: 2 * x))]\n"),
        ],
        ["tests/blocks", "tests/exporters", "tests/rules", "tests/reports", "-k", "Doubled or every_block or coverage"],
        ["tests/blocks", "tests/saving", "tests/interop", "-k", "Doubled"],
    ),
    "an objective": Addition(
        [
            Place(
                "blockprop/commands/choices.py",
                inserted=(('LOSSES += ("quartic_error",)\n', '"""`blockprop.engine.objectives'),),
            ),
            Place("blockprop/engine/objectives.py", inserted=((OBJECTIVE, "LOSSES:"),)),
            Place("tests/cases/objectives.py", ROW),
        ],
        [*SAID, "tests/engine/test_objectives.py", "-k", "quartic or every_loss or classes_or_numbers or LOSSES"],
        ["tests/engine/test_objectives.py", "tests/commands/test_cli.py"],
    ),
    "a rule": Addition(
        [Place("blockprop/rules/named.py", RULE), Place("tests/rules/rule_oracle.py", HALVED)],
        ["tests/rules", "-k", "single_rectifier or slow_version"],
        ["tests/rules/test_composites.py", "tests/rules/test_rules.py", "-k", "not spelling and not network"],
    ),
    "a saliency method": Addition(
        [
            Place(
                "blockprop/commands/choices.py",
                inserted=(('METHODS += ("summed_gradient",)\n', '"""`blockprop.visualize.attribution'),),
            ),
            Place("blockprop/visualize/attribution/methods.py", METHOD),
            Place("tests/visualize/saliency_oracle.py", SUMMED),
        ],
        [*SAID, "tests/visualize/test_saliency.py", "-k", "summed_gradient or slow_version or METHODS"],
        ["tests/visualize/test_saliency.py", "-k", "not autograd and not samples_cost and not photograph"],
    ),
    "a command": Addition(
        [
            Place("blockprop/commands/greet.py", GREET),
            Place(
                "blockprop/cli.py",
                inserted=(
                    ("    greet,\n", "    import_,\n"),
                    ('    "greet": (greet.greet, greet.EPILOG),\n', '}\n"""By name'),
                ),
            ),
            Place("tests/commands/test_greet.py", GREETED),
        ],
        ["tests/commands/test_cli.py", "tests/commands", "-k", "greet or every_command or help"],
        ["tests/commands/test_cli.py", "tests/commands/test_greet.py"],
    ),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and the tests, to be changed."""
    for folder in ("blockprop", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def complaints(root: Path, tests: list[str]) -> list[str]:
    """A line for each test that fails."""
    options = ["-n0", "-q", "--tb=no", "-rfE", "-m", "not slow", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    environment = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "2000"}
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=280)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert bool(lines) == bool(run.returncode), run.stdout
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("thing", ADDITIONS)
def test_each_place_that_is_missing_complains_by_name(thing: str, copy: Path) -> None:
    places, addition = ADDITIONS[thing].places, ADDITIONS[thing]
    for place, following in zip(places, [*places[1:], None], strict=True):
        place.touch(copy)
        if following is None:
            assert complaints(copy, addition.tests) == []
            assert complaints(copy, addition.whole) == []
        else:
            lines = complaints(copy, addition.tests)
            assert lines, f"nothing asks for {following.file}"
            assert all(following.file in line for line in lines), lines


def test_contributing_names_these_places() -> None:
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("|")]
    for thing, addition in ADDITIONS.items():
        (row,) = [line for line in rows if line.startswith(f"| {thing} |")]
        for place in addition.places:
            assert re.search(rf"`{_pattern(place)}`", row), f"{thing}: {place.file} is not in its row: {row}"


def _pattern(place: Place) -> str:
    """The place's file as the table names it: itself, or the subject left open."""
    folder, _, file = place.file.rpartition("/")
    return rf"{re.escape(folder)}/(?:{re.escape(file)}|(?:test_)?<\w+>\.py)"
