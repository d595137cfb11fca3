"""`blockprop check`: networks and blocks, right and wrong ones."""

from pathlib import Path

import pytest

from blockprop.cli import main
from blockprop.commands.parsing import block_named, shape_named
from blockprop.errors import SettingError
from tests.commands.running import Output, run_json


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
