"""The examples do what their first lines say; benchmarks and scripts find what they import from here and the tests."""

import ast
import importlib.util
import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PROGRAMS = [file for folder in ("bench", "scripts", "examples") for file in sorted((ROOT / folder).rglob("*.py"))]


def test_the_encoder_learns_a_three_bit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["encoder_8_3_8.py", str(tmp_path)])
    names = runpy.run_path(str(EXAMPLES / "encoder_8_3_8.py"), run_name="example")
    codes, outputs = names["train"]()
    bits = {tuple(code) for code in (codes[-1] > 0.5).int().tolist()}
    assert len(bits) == 8, "eight patterns, eight different codes of three bits"
    assert (codes[-1] - 0.5).abs().min() > 0.3, "each unit is clearly on or off"
    assert torch.equal(outputs.argmax(1), torch.arange(8))
    monkeypatch.setitem(names["main"].__globals__, "train", lambda: (codes, outputs))
    names["main"]()
    assert "8 different codes" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "encoder_8_3_8.svg").read_text()


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.name)
def test_what_programs_import_is_there(file: Path) -> None:
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if (node.module or "").partition(".")[0] in ("blockprop", "tests")]
    names = [(str(node.module), name.name) for node in ours for name in node.names]
    assert [".".join(pair) for pair in names if not is_there(*pair)] == []


def is_there(module: str, name: str) -> bool:
    """Whether the module has the name, or a file of it."""
    return hasattr(importlib.import_module(module), name) or bool(importlib.util.find_spec(f"{module}.{name}"))
