"""`blockprop check`: networks and blocks, right and wrong ones."""

from pathlib import Path

import pytest

from blockprop.cli import main
from blockprop.commands.described_blocks import block_named
from blockprop.commands.parsing import shape_named
from blockprop.errors import SettingError
from tests.commands.running import Output, run_json, sentence


def test_check_networks_and_blocks(capsys: Output) -> None:
    result = run_json(capsys, "check", "mlp:8", "--examples", "3")
    assert result["right"] is True
    assert result["worst_gradient_error"] < 1e-6
    assert set(result["errors"]) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "x"}
    assert main(["check", "Conv2d(2, 3, 3, padding=1)", "--shape", "2,2,5,5"]) == 0
    assert "right" in capsys.readouterr().out
    assert main(["check", "MatMul", "--shape", "2,3;3,4"]) == 0


def test_a_wrong_backward_exits_with_3(capsys: Output) -> None:
    Path("wrong.py").write_text(
        "from blockprop import Sequential\n"
        "from blockprop.blocks import Flatten, Linear\n"
        "class Wrong(Linear):\n"
        "    def gradients(self, saved, d_y):\n"
        "        return {name: 1.01 * d for name, d in super().gradients(saved, d_y).items()}\n"
        "def build(shape, outputs):\n"
        "    return Sequential(Flatten(), Wrong(64, outputs))\n"
    )
    assert main(["check", "wrong.py:build"]) == 3
    assert "WRONG" in capsys.readouterr().out


def test_nothing_in_a_block_description_is_run() -> None:
    assert block_named("mlp:3") is None
    assert repr(block_named("ReLU")) == "ReLU()"
    for text in ("Linear(__import__('os').getpid(), 3)", "Linear(3", "Linear(3, 4, 5, 6)", "Linear(3, bias=)"):
        with pytest.raises(SettingError):
            block_named(text)
    assert shape_named("2,3") == (2, 3)


POOL = """
import torch
from blockprop import Block

class LeakyMaxPool(Block):
    def __init__(self, size=2, slope=0.1):
        self.size, self.slope = size, slope
    def forward(self, x):
        windows = x.unflatten(-1, (-1, self.size))
        y, places = windows.max(-1)
        return y + self.slope * windows.mean(-1), (places, windows)
    def propagate(self, saved, d_y):
        places, windows = saved
        d = torch.zeros_like(windows).scatter_(-1, places[..., None], d_y[..., None])
        return ((d + self.slope * d_y[..., None] / self.size).flatten(-2),)

class Times(Block):
    def forward(self, a, b):
        return a * b, (a, b)
    def propagate(self, saved, d_y):
        return d_y * saved[1], d_y * saved[0]

class WrongShape(LeakyMaxPool):
    def propagate(self, saved, d_y):
        return (d_y.view(saved[1].shape),)

class NoForward(LeakyMaxPool):
    def forward(self, x):
        return x @ torch.ones(7, 7), None

class NothingBack(LeakyMaxPool):
    def propagate(self, saved, d_y):
        pass

class Bare(LeakyMaxPool):
    def forward(self, x):
        return super().forward(x)[0]

class Weight(Block):
    parameter_names = ("w",)
    def __init__(self):
        self.w = torch.ones(4)
    def forward(self, x):
        return x * self.w, x
    def propagate(self, x, d_y):
        return (d_y * self.w,)
    def gradients(self, x, d_y):
        return {"w": (x * d_y).summ(0)}
"""


def line_in_pool(text: str, after: str) -> str:
    lines = POOL.splitlines()
    start = lines.index(next(line for line in lines if line.startswith(f"class {after}(")))
    return f"pool.py, line {next(i for i, line in enumerate(lines, 1) if i > start and text in line)}"


@pytest.mark.parametrize(
    "block",
    [
        ("LeakyMaxPool()", "--blocks", "pool.py"),
        ("LeakyMaxPool", "--blocks", "pool.py"),
        ("LeakyMaxPool(3, slope=0.5)", "--blocks", "pool.py"),
        ("pool.py:LeakyMaxPool",),
        ("pool.py:LeakyMaxPool(3)",),
    ],
)
def test_a_block_of_one_s_own_is_checked(capsys: Output, block: tuple[str, ...]) -> None:
    Path("pool.py").write_text(POOL)
    assert run_json(capsys, "check", *block, "--shape", "2,3,4,6")["right"] is True


def test_several_inputs_and_kinds_of_numbers(capsys: Output) -> None:
    Path("pool.py").write_text(POOL)
    assert run_json(capsys, "check", "pool.py:Times", "--shape", "3,4", "--shape", "3,4")["right"] is True
    assert run_json(capsys, "check", "Embedding(10, 3)", "--shape", "4,2:0..9")["right"] is True
    assert run_json(capsys, "check", "Log", "--shape", "3,4:positive")["right"] is True
    assert run_json(capsys, "check", "BatchNorm1d(4)", "--shape", "3,4", "--training")["right"] is True
    assert "takes the inputs a, b, and 1 came" in sentence(capsys, "check", "pool.py:Times", "--shape", "3,4")


@pytest.mark.parametrize(
    ("block", "method", "line"),
    [
        ("WrongShape", "propagate fails", "view"),
        ("NoForward", "forward fails", "ones(7, 7)"),
        ("NothingBack", "propagate must return a tuple", "def propagate"),
        ("Bare", "forward must return (output, saved)", "def forward"),
        ("Weight", "gradients fails", "summ"),
    ],
)
def test_an_error_in_a_block_is_a_verdict_with_method_and_line(
    capsys: Output, block: str, method: str, line: str
) -> None:
    Path("pool.py").write_text(POOL)
    assert main(["check", f"pool.py:{block}", "--shape", "2,4"]) == 3
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert method in printed
    assert line_in_pool(line, block) in printed


def test_a_network_with_a_block_that_fails_names_node_and_line(capsys: Output) -> None:
    Path("pool.py").write_text(
        POOL + "\nfrom blockprop import Sequential\nfrom blockprop.blocks import Flatten, Linear\n"
        "def build(shape, outputs):\n    return Sequential(Flatten(), WrongShape(), Linear(32, outputs))\n"
        "def crash(shape, outputs):\n    return Sequential(Flatten(), NoForward(), Linear(32, outputs))\n"
    )
    assert main(["check", "pool.py:build"]) == 3
    assert f"node 'wrongshape1', WrongShape(): propagate fails in {line_in_pool('view', 'WrongShape')}" in (
        capsys.readouterr().out
    )
    assert "cannot take examples" in sentence(capsys, "check", "pool.py:crash")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("LeakyMaxPol()", "--blocks", "pool.py", "--shape", "2"), "did you mean 'LeakyMaxPool'"),
        (("LeakyMaxPool(3, 4, 5)", "--blocks", "pool.py", "--shape", "2"), "does not describe a block"),
        (("LeakyMaxPool", "--blocks", "pool.py", "--shape", "2:odd"), "expected normal, positive, bool"),
        (("LeakyMaxPool", "--blocks", "pool.py"), "takes the inputs x, and 0 came"),
        (("Dropout()", "--shape", "3,4", "--shape", "3,4"), "Dropout takes the inputs x, and 2 came"),
        (("pool.py:Nothing", "--shape", "2"), "names none of pool.py, which has LeakyMaxPool and"),
        (("none.py:Nothing", "--shape", "2"), "none.py does not exist"),
        (("mlp:8", "--shape", "2"), "--shape is for a block"),
        (
            ("LeakyMaxPool()", "--blocks", "pool.py", "--shape", "2,3,4,6", "--data", "digits"),
            "--data is for a network",
        ),
        (("ReLU", "--shape", "2,3", "--target", "y"), "--target is for a network, and ReLU is a block"),
        (("Mine()", "--shape", "2"), "--blocks my_blocks.py"),
        (("ReLU", "--shape", "3,x"), "expected a shape such as 2,3,8,8, came '3,x'"),
        (("ReLU", "--shape", "0,4"), "expected a shape such as 2,3,8,8, came '0,4'"),
        (("ReLU", "--shape", "2,3:odd"), "behind the colon, came '2,3:odd'; real numbers are float64"),
    ],
)
def test_what_is_no_block_is_said(capsys: Output, arguments: tuple[str, ...], said: str) -> None:
    Path("pool.py").write_text(POOL)
    refused = sentence(capsys, "check", *arguments)
    assert said in refused
    assert "one by one" not in refused, "commas are a shape's own"


def test_a_block_that_ends_the_process_is_wrong(capsys: Output) -> None:
    Path("ending.py").write_text(POOL.replace("places, windows = saved", "raise SystemExit(0)", 1))
    assert main(["check", "LeakyMaxPool()", "--blocks", "ending.py", "--shape", "2,3,4,6"]) == 3
    assert "SystemExit" in capsys.readouterr().out
