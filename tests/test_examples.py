"""The examples do what their first lines say."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parent.parent / "examples"


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
