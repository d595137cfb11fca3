"""The onnx package's own tests of each operator: what it computes, in all versions of opsets 7 to 21, and backward."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.errors import BlockpropError
from blockprop.importers.onnx_operators import table
from tests.importers.onnx_nodes import Case, by_operator, imported, node_cases, older_cases, run, verify

onnxruntime.set_default_logger_severity(4)

SUPPORTED = table.supported()
CASES = by_operator(node_cases().values())
MINE = {name: cases for name, cases in CASES.items() if name in SUPPORTED or name == "If"}

REFUSED = {
    r"_uint(16|32|64)|_ui(16|32|64)|types_float32_uint|bitwise_not_3d": "torch cannot compute with these types",
    r"FLOAT8|FLOAT4|INT4|INT2|no_saturate": "nor with these",
    r"averagepool.*dilations|lppool.*dilations": "no block has windows with gaps for averages",
    r"training_mode|training_dropout": "blockprop's own blocks act in training by themselves",
    r"with_argmax": "no block gives the places of maxima",
    r"peepholes": "no block has peepholes",
    r"reversesequence": "sequences of different lengths",
    r"scatter.*(mul|max|min)": "ScatterElements and ScatterND can add, and no more",
    r"reduce_(max|min)_empty_set": "there is no largest of no elements",
    r"col2im_5d": "Fold is for pictures",
    r"if_(seq|opt)|identity_(sequence|opt)": "sequences and optional values",
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


# Older versions -------------------------------------------------------------------------------------------------------

DEPARTURES = {
    r"resize_downsample_scales_(linear|cubic)_align_corners": "onnxruntime rounds the size first",
}


def is_departure(name: str) -> bool:
    """Whether onnxruntime departs from the standard in this case."""
    return any(re.search(pattern, name) for pattern in DEPARTURES)


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


def by_onnxruntime(model: onnx.ModelProto, inputs: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Its outputs; None if it does not know the operator in this version or for these types."""
    try:
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found: Any = session.run(None, {name: x.numpy() for name, x in inputs.items()})
        return [torch.from_numpy(np.array(y)) for y in found]
    except Exception:  # its errors have no common base
        return None


# Backward -------------------------------------------------------------------------------------------------------------


class Projection(Objective):
    """Σ r y with fixed random r, over all outputs that are real numbers: its seeds are r."""

    def __init__(self, outputs: Mapping[str, Tensor]):
        generator = torch.Generator().manual_seed(0)
        self.r = {name: torch.randn(y.shape, generator=generator).double() for name, y in outputs.items()}
        self.nodes = tuple(outputs)

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        total = torch.zeros((), dtype=torch.float64)
        for name, r in self.r.items():
            total = total + (r * outputs[name]).sum()
        return total, dict(self.r)

    def __repr__(self) -> str:
        return "a projection"


@pytest.mark.parametrize("operator", MINE)
def test_backward_agrees_with_differences(operator: str, tmp_path: Path) -> None:
    for case in MINE[operator]:
        if not refused(case.name):
            network = imported(case.model, case.inputs, tmp_path)
            inputs = {name: case.inputs[name] for name in network.inputs}
            if differentiable(network, inputs):
                check(network, inputs, case)


WITHOUT_DERIVATIVE = {"RoiAlign": "rois"}
"""Inputs of real numbers to which nothing propagates, as the blocks say."""


def differentiable(network: Network, inputs: Mapping[str, Tensor]) -> bool:
    """The rule for what is checked: the outputs have finite real numbers, there and a little beside, in float64.

    An operator that pins its type of number (Cast to float32, OneHot) cannot be computed in float64, and 0 to a power
    is NaN a little beside. Kinks are for check_network to see to.
    """
    if not any(x.is_floating_point() and x.numel() for x in (*inputs.values(), *network.parameters.values())):
        return False
    twin = network.copy().to(dtype=torch.float64)
    try:
        there = [run(twin, {name: _beside(x, shift) for name, x in inputs.items()}) for shift in (-0.01, 0.01, 0)]
    except BlockpropError:
        return False
    real = [y for outputs in there for y in outputs if y.is_floating_point()]
    return bool(real) and all(y.dtype == torch.float64 and bool(y.isfinite().all()) for y in real)


def _beside(x: Tensor, shift: float) -> Tensor:
    return x.double() + shift * x.double().abs().mean() if x.is_floating_point() else x


def check(network: Network, inputs: dict[str, Tensor], case: Case) -> None:
    given = {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}
    outputs = dict(zip(network.outputs, run(network.copy().to(dtype=torch.float64), given), strict=True))
    objective = Projection({name: y for name, y in outputs.items() if y.is_floating_point()})
    wanted = [name for name in network.inputs if name != WITHOUT_DERIVATIVE.get(case.operator)]
    report = check_network(network, *given.values(), objective=objective, wrt=("parameters", *wanted), tolerance=1e-5)
    assert report.passed, f"{case.name}: {report}"


# The page -------------------------------------------------------------------------------------------------------------


def test_the_page_lists_the_operators_of_the_table() -> None:
    """docs/onnx.md is written by bench/onnx_operators.py: to be run again when the table changes."""
    page = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()
    listed = dict(re.findall(r"^\| ([A-Z]\w+) \| ([\d, ]+) \|", page, re.MULTILINE))
    assert {name: tuple(map(int, versions.split(", "))) for name, versions in listed.items()} == SUPPORTED


def test_most_of_the_standard_is_read() -> None:
    """What the page counts, as a floor that does not sink."""
    right = [case for cases in MINE.values() for case in cases if not refused(case.name)]
    assert len(SUPPORTED) >= 140
    assert len(right) >= 800
