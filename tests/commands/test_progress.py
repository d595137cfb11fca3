"""Commands that go through many rows show how far they are: on standard error, and not with --quiet."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from blockprop.cli import main
from blockprop.commands import console, measuring, predict
from tests.commands.running import Output, run_json

ROWS = 700


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> io.StringIO:
    """What a terminal gets, where everything takes a while; rows of numbers, and a network for them."""
    numbers = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    np.savez("rows.npz", x=numbers, y=(numbers[:, 0] > 0).astype(np.int64))
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{'yes' if a > 0 else 'no'}" for a, b, c in numbers]
    Path("rows.csv").write_text("\n".join(["a,b,c,answer", *lines]))
    for kind in ("npz", "csv"):
        run_json(capsys, "train", f"rows.{kind}", "-n", "mlp:4", "--epochs", "1", "-o", f"{kind}.safetensors")
    file = io.StringIO()
    monkeypatch.setattr(console, "progress_console", Console(file=file, force_terminal=True, width=100))
    for module in (measuring, predict):
        monkeypatch.setattr(module, "LONG", 0.0)
    return file


@pytest.mark.parametrize("kind", ["npz", "csv"])
@pytest.mark.parametrize(("command", "title"), [("predict", "Predicting"), ("evaluate", "Testing")])
def test_many_rows_have_a_bar(kind: str, command: str, title: str, bar: io.StringIO, capsys: Output) -> None:
    arguments = [command, f"{kind}.safetensors", f"rows.{kind}"]
    assert main([*arguments, "--quiet"]) == 0
    assert title not in bar.getvalue()
    assert main(arguments) == 0
    assert title in bar.getvalue()
    assert title not in capsys.readouterr().out
