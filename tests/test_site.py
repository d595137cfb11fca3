"""What the site adds to the pages in docs/: what code prints, steppers, proofs, the reference of every block."""

from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(autouse=True)
def _building(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))


def test_every_page_has_its_line() -> None:
    lines = (DOCS / "building" / "index.md").read_text("utf-8").splitlines()
    for page in DOCS.glob("*.md"):
        assert page.stem in lines, f"{page.name} has no line in docs/building/index.md"


def test_what_code_prints_stands_below_it() -> None:
    from building.running import with_output

    page = "```python\nx = 2\n```\nthen\n```python\nprint(x + 1)\n```\nend\n"
    assert with_output(page, "page") == page.replace("end", "\n````{code-block} text\n:class: output\n\n3\n````\nend")
    with pytest.raises(DeprecationWarning):
        with_output('```python\nimport warnings\nwarnings.warn("old", DeprecationWarning)\n```\n', "page")


def test_steppers_stand_where_they_are_wanted(tmp_path: Path) -> None:
    from building.running import with_steppers

    text = with_steppers("before\n<!-- stepper: tanh -->\nafter", tmp_path / "steppers")
    assert 'src="steppers/tanh.html"' in text
    assert with_steppers("write `<!-- stepper: relu -->`", tmp_path) == "write `<!-- stepper: relu -->`"
    assert "lecture:tanh" in (tmp_path / "steppers" / "tanh.html").read_text("utf-8")


def test_links_lead_to_pages_of_the_site_and_to_the_code_of_tests() -> None:
    from building.pages import linked, with_proofs

    page = "[a](seeing.md#dreams) [b](../CHANGELOG.md) [c](../blockprop/blocks/linear.py) [d](../blockprop/engine)"
    assert linked(page, DOCS) == "[a](seeing.md#dreams) [b](changelog.md) [c](reference/linear.md) d"
    assert linked("![a](pictures/dream.jpg)", DOCS) == "![a](pictures/dream.jpg)"
    assert linked("[a](../blockprop/engine/plan.py)", DOCS) == "[a](code/blockprop/engine/plan.md)"
    code = "```python\nfunctions[0](x)\n```"
    assert linked(f"[a](../CHANGELOG.md)\n{code}\n[b](../blockprop/engine)", DOCS) == f"[a](changelog.md)\n{code}\nb"
    text, proofs = with_proofs("[`test_in_scalars`](../tests/networks/test_lecture.py)")
    assert text == "[`test_in_scalars`](#tests-networks-test-lecture-test-in-scalars)"
    assert '@pytest.mark.parametrize("kind", KINDS)\ndef test_in_scalars' in "".join(proofs.values())
    with pytest.raises(ValueError, match="test_nothing"):
        with_proofs("[`test_nothing`](../tests/networks/test_lecture.py)")


def test_which_operators_become_a_block() -> None:
    from building.imported import all_blocks, importing

    assert "relu" in importing("ReLU")["torch"]
    assert "Relu" in importing("ReLU")["ONNX"]  # whose handler a function makes
    assert importing("MaxPool2d")["ONNX"] == ["MaxPool"]  # by a table of the file
    assert "Reshape" not in importing("Max")["ONNX"]
    assert {"Equal", "And", "ReduceMax", "Max"} & {
        name for name, found in all_blocks()["ONNX"].items() if not found
    } == set()
    assert importing("Exp")["ONNX"][0] == "Exp"
    assert "exp" in importing("Exp")["torch"]
    assert "sin" not in importing("Exp")["torch"]  # of a table its own entry alone
    assert "And" not in importing("Add")["ONNX"]  # though call.add is a method, and add a function of the file
    assert "ai.onnx.ml.TreeEnsemble" in importing("Trees")["ONNX"]  # by a class of the file
    assert importing("Noise") == {}


def test_the_code_of_both_passes_with_what_they_call() -> None:
    from building.reference import sources

    from blockprop.blocks import MaxPool2d, ReLU

    assert [code.split("(")[0] for code in sources(MaxPool2d)] == [
        "def forward",
        "def propagate",
        "def maxima",
        "def to_winners",
    ]
    assert not any("gradients" in code for code in sources(ReLU))


def test_each_block_has_its_section_with_formulas_and_its_check() -> None:
    from building.reference import _section

    from blockprop.blocks import Linear
    from tests.cases.linear import CASES

    text = "\n".join(_section(Linear, [case for case in CASES if isinstance(case.make(), Linear)]))
    for part in ("Linear(features_in, features_out, with_bias=True)", "d_x = d_y weight", "def propagate", ": right"):
        assert part in text


def test_what_a_site_loads_is_its_own(tmp_path: Path) -> None:
    from building.offline import lacking

    (tmp_path / "own.js").touch()
    page = tmp_path / "page.html"
    page.write_text('<a href="https://elsewhere.org">not loaded</a><script src="own.js?v=1"></script>')
    assert list(lacking(tmp_path)) == []
    page.write_text('<script src="//cdn.org/x.js"></script><img src="lost.png"><link href="https://fonts.org/f.css">')
    (tmp_path / "style.css").write_text("@import url(https://fonts.org/f.css);")
    assert len(list(lacking(tmp_path))) == 4


def test_formulas_are_mathml() -> None:
    pytest.importorskip("math_core")
    pytest.importorskip("sphinx")
    from building.formulas import mathml
    from sphinx.errors import SphinxError

    assert mathml(r"\frac{1}{2}", alone=False).startswith("<math")
    with pytest.raises(SphinxError, match="cannot be read"):
        mathml(r"\frac{1}{2", alone=True)
