"""`blockprop diagram`: a network's dataflow graph."""

from pathlib import Path

from tests.commands.running import Output, run_json, train_digits


def test_diagrams(capsys: Output) -> None:
    result = run_json(capsys, "diagram", "lenet", "--out", "lenet.svg")
    assert result["nodes"] == 12
    assert ">6 × 28 × 28<" in Path("lenet.svg").read_text()
    train_digits(capsys)
    run_json(capsys, "diagram", "net.safetensors", "--data", "digits", "--out", "net.svg")
    assert "gradient" in Path("net.svg").read_text()
