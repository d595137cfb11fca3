"""`blockprop demo`: one page, and its figures."""

import re
from pathlib import Path

import pytest

from blockprop.saving.storage import load
from tests.commands.running import Output, run_json


@pytest.mark.slow
def test_the_demo_writes_one_page_and_reaches_its_figures(capsys: Output) -> None:
    result = run_json(capsys, "demo")
    assert result["accuracy"] >= 0.97
    assert result["worst_gradient_error"] < 1e-6
    assert result["gradients_right"] is True
    page = Path(result["report"]).read_text()
    assert "Saliency" in page
    assert "Gradient check" in page
    assert not re.search(r"""(src|href)=["']https?:""", page), "the page must ask the network for nothing"
    assert load(result["network"]).meta["classes"] == [str(digit) for digit in range(10)]
