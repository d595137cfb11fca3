"""The onnx package's own tests of each operator: what it computes, in all versions of opsets 7 to 21, and backward."""

import re
from collections import Counter
from pathlib import Path

import pytest

from blockprop.errors import BlockpropError
from tests.importers.onnx_nodes import imported, older_cases, run, verify
from tests.importers.onnx_oracles import (
    CASES,
    DEFINED,
    MINE,
    SUPPORTED,
    by_onnxruntime,
    check,
    differentiable,
    is_departure,
)

REFUSED = {
    r"_uint(16|32|64)|_ui(16|32|64)|types_float32_uint|bitwise_not_3d": "torch cannot compute with these types",
    r"FLOAT8|FLOAT4|INT4|INT2|no_saturate": "nor with these",
    r"averagepool.*dilations|lppool.*dilations": "no block has windows with gaps for averages",
    r"training_mode|training_dropout": "blockprop's own blocks act in training by themselves",
    r"peepholes": "no block has peepholes",
    r"reversesequence": "sequences of different lengths",
    r"scatter.*(mul|max|min)": "ScatterElements and ScatterND can add, and no more",
    r"reduce_(max|min)_empty_set": "there is no largest of no elements",
    r"col2im_5d": "Fold is for pictures",
    r"identity_(sequence|opt)|sequence_map": "sequences as inputs",
    r"optional_get_element_(optional|seq)|has_element_(tensor|optional)": "sequences as inputs, or optional ones",
    r"bernoulli": "drawn at random",
    r"scan_sum": "the first version of Scan, of batches",
    r"dynamicquantizelinear": "quantized numbers",
}
"""What is refused, by name of the case, and why; the importer says so, too."""


def refused(name: str) -> str | None:
    return next((why for pattern, why in REFUSED.items() if re.search(pattern, name)), None)


@pytest.mark.parametrize("operator", MINE)
def test_outputs_are_those_of_the_package(operator: str, tmp_path: Path) -> None:
    for case in MINE[operator]:
        if refused(case.name):
            with pytest.raises(BlockpropError):
                run(imported(case.model, case.inputs, tmp_path), case.inputs)
        else:
            verify(run(imported(case.model, case.inputs, tmp_path), case.inputs), case.outputs)


@pytest.mark.slow
def test_operators_written_out_as_others(tmp_path: Path) -> None:
    """Half of the package's cases define operators by simpler ones: whole graphs, with arithmetic of shapes."""
    done = Counter[str]()
    for case in CASES["expanded"]:
        names = {node.op_type for node in case.model.graph.node}
        if not names <= {*SUPPORTED, "If"} or refused(case.name):
            continue
        verify(run(imported(case.model, case.inputs, tmp_path), case.inputs), case.outputs)
        done["right"] += 1
    assert done["right"] >= 350


@pytest.mark.slow
@pytest.mark.parametrize("operator", [name for name in MINE if name in SUPPORTED])
def test_older_versions_agree_with_onnxruntime(operator: str, tmp_path: Path) -> None:
    for case in MINE[operator]:
        if refused(case.name) or is_departure(case.name):
            continue
        for version, model, inputs in older_cases(case):
            expected = by_onnxruntime(model, inputs)
            if expected is None:
                continue
            try:
                verify(run(imported(model, inputs, tmp_path), inputs), expected)
            except Exception as error:
                raise AssertionError(f"{case.name} in version {version}: {error}") from error


@pytest.mark.parametrize(
    "operator", [pytest.param(name, marks=[pytest.mark.slow] if name in DEFINED else []) for name in MINE]
)
def test_backward_agrees_with_differences(operator: str, tmp_path: Path) -> None:
    for case in MINE[operator]:
        if not refused(case.name):
            network = imported(case.model, case.inputs, tmp_path)
            inputs = {name: case.inputs[name] for name in network.inputs}
            if differentiable(network, inputs):
                check(network, inputs, case)


def test_the_page_lists_the_operators_of_the_table() -> None:
    """docs/onnx.md is written by bench/onnx_operators.py: to be run again when the table changes."""
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    listed = dict(re.findall(r"^\| ((?:[\w.]+\.)?[A-Z]\w+) \| (\d[\d, ]*) \|", page, re.MULTILINE))
    assert {name: tuple(map(int, versions.split(", "))) for name, versions in listed.items()} == SUPPORTED


def test_most_of_the_standard_is_read() -> None:
    """What the page counts, as a floor that does not sink."""
    right = [case for cases in MINE.values() for case in cases if not refused(case.name)]
    assert len(SUPPORTED) >= 175
    assert len(right) >= 1000
