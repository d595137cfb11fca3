"""`blockprop descend`: pictures of paths, what is said of them, and what is not understood."""

from pathlib import Path

import pytest

from blockprop.cli import main
from tests.commands.running import Output, run_json, sentence

BOWL = "x**2 + 10*y**2"


def test_a_path_is_drawn_and_described(capsys: Output) -> None:
    assert main(["descend", BOWL, "--from", "3,1", "--rate", "0.09"]) == 0
    printed = capsys.readouterr().out
    assert "Converged to a minimum at (0.0001472, 1.427e-05)" in printed
    assert "It zigzags: the rate 0.09 is between 1/λ = 0.05 and 2/λ = 0.1" in printed
    assert printed.splitlines()[1].split() == ["0", "3", "1", "19", "20.9"]
    picture = Path("descent.svg").read_text()
    assert "<title>f(x, y) = x**2 + 10*y**2; loss</title>" in picture


def test_too_large_a_rate_and_numbers_for_programs(capsys: Output) -> None:
    found = run_json(capsys, "descend", BOWL, "--from", "3,1", "--rate", "0.9", "-o", "path.png")
    assert found["verdict"] == "grows"
    assert "the rate 0.9 is above 2/λ = 0.1" in found["said"][0]
    assert found["curvature"] == pytest.approx(20)
    assert found["steps"] == 50
    assert Path(found["written"]).read_bytes().startswith(b"\x89PNG")
    same = run_json(capsys, "descend", BOWL, "--from", "3,1", "--rate", "0.9", "-o", "again.png")
    assert Path(same["written"]).read_bytes() == Path("path.png").read_bytes()


def test_by_hand(capsys: Output) -> None:
    found = run_json(capsys, "descend", BOWL, "--from", "3,1", "--rate", "0.0625", "--steps", "2")
    assert found["x"] == [2.296875, 0.0625]
    assert found["value"] == 2.296875**2 + 10 * 0.0625**2


@pytest.mark.parametrize(
    ("formula", "start", "more", "verdict"),
    [
        ("sin(x) + x**2/20", "-4.4", ["--rate", "1.1"], "minimum"),
        ("x**4", "3", [], "grows"),
        ("log(x) + x*y**2", "2,1", ["--rate", "0.3"], "unbounded"),
        ("x**2 - y**2", "1,0", [], "saddle"),
        ("0*x", "1", [], "flat"),
        (BOWL, "0,0", ["--steps", "1"], "minimum"),
        ("sqrt(x) + sqrt(y)", "1e-3,1", ["--steps", "2", "--rate", "1e-6"], "unfinished"),
        ("exp(1e3/y)", "1.56", ["--rate", "0.117"], "flat"),  # to 1e280 in one step
        ("abs(x)", "0.05", ["--steps", "5"], "bounces"),
        ("abs(x) + max(y, 1)", "1.05,3", ["--momentum", "0.5", "--steps", "200"], "bounces"),
    ],
)
def test_any_path_can_be_drawn(capsys: Output, formula: str, start: str, more: list[str], verdict: str) -> None:
    found = run_json(capsys, "descend", formula, "--from", start, *more)
    assert found["verdict"] == verdict, found["said"]
    assert "<svg" in Path(found["written"]).read_text()


@pytest.mark.parametrize(
    ("formula", "start", "more", "said"),
    [
        (BOWL, "3", [], "has 2 variables, x and y; 1 number came"),
        ("y**2", "3,1", [], "has 1 variable, y; 2 numbers came"),
        (BOWL, "3;1", [], "expected numbers with commas between"),
        (BOWL, "3,inf", [], "a start is of finite numbers"),
        (BOWL, "3,1", ["-o", "path.pdf"], "a name that ends in .svg or .png"),
        (BOWL, "3,1", ["--rate", "0"], "a rate above 0"),
        (BOWL, "3,1", ["--momentum", "1"], "momentum in 0…1"),
        ("abs(x)", "0", [], "at x = 0: its slope is -1 to the left and 1 to the right; start beside it"),
        ("max(x, y)", "2,2", [], "at x = 2: its slope is 0 to the left and 1 to the right"),
        ("min(abs(x), abs(y))", "0,0", [], "no derivative at the start, along a direction: its slope is -1"),
        ("log(x)", "0", [], "Log() (node 'log1') gives -inf for 0"),
    ],
)
def test_what_is_not_understood_is_said(capsys: Output, formula: str, start: str, more: list[str], said: str) -> None:
    assert said in sentence(capsys, "descend", formula, "--from", start, *more)
    assert not list(Path().glob("*.svg"))


def test_a_formula_that_cannot_be_read_is_shown_with_the_place(capsys: Output) -> None:
    assert main(["descend", "x**2 + sn(y)", "--from", "3,1"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "blockprop: there is no function 'sn'; did you mean 'sin' or 'sinh' or 'sign'?, at column 8"
    assert lines[1:] == ["    x**2 + sn(y)", "           ^"]
    assert main(["descend", BOWL]) == 2
    assert "--from" in capsys.readouterr().err
