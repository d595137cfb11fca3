"""Which node tests the importer takes on, and what its networks are compared with: onnxruntime, and differences."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.errors import BlockpropError
from blockprop.importers.onnx.control import CONTROLS
from blockprop.importers.onnx_operators import table
from tests.importers.onnx_nodes import Case, by_operator, node_cases, run

onnxruntime.set_default_logger_severity(4)

SUPPORTED = table.supported()
CASES = by_operator(node_cases().values())
DEFINED = {
    ".".join(filter(None, (schema.domain, schema.name)))
    for schema in onnx.defs.get_all_schemas()
    if schema.has_function or schema.has_context_dependent_function
} - SUPPORTED.keys()
"""Operators without a handler that the standard defines by others."""
MINE = {name: cases for name, cases in CASES.items() if name in {*SUPPORTED, *CONTROLS, *DEFINED}}
DEPARTURES = {
    r"resize_downsample_scales_(linear|cubic)_align_corners": "onnxruntime rounds the size first",
}


def is_departure(name: str) -> bool:
    """Whether onnxruntime departs from the standard in this case."""
    return any(re.search(pattern, name) for pattern in DEPARTURES)


def by_onnxruntime(model: onnx.ModelProto, inputs: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Its outputs; None if it does not know the operator in this version or for these types."""
    try:
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found: Any = session.run(None, {name: x.numpy() for name, x in inputs.items()})
        return [torch.from_numpy(np.array(part)) for y in found for part in (y if isinstance(y, list) else [y])]
    except Exception:  # its errors have no common base
        return None


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


WITHOUT_DERIVATIVE = {"RoiAlign": "rois"}
"""Inputs of real numbers to which nothing propagates, as the blocks say."""


def differentiable(network: Network, inputs: Mapping[str, Tensor]) -> bool:
    """The rule for what is checked: inputs and outputs are finite real numbers, there and a little beside, in float64.

    An operator that pins its type of number (Cast to float32, OneHot) cannot be computed in float64, and 0 to a power
    is NaN a little beside. An inner NaN (softmax of a row that may look at nothing) goes back as NaN even where it is
    not chosen, as with autograd. Kinks are for check_network to see to.
    """
    if not any(x.is_floating_point() and x.numel() for x in (*inputs.values(), *network.parameters.values())):
        return False
    if not all(bool((x.double().abs() < 1e30).all()) for x in inputs.values()):
        return False
    twin = network.copy().to(dtype=torch.float64)
    try:
        there = [run(twin, {name: _beside(x, shift) for name, x in inputs.items()}) for shift in (-0.01, 0.01, 0)]
    except BlockpropError:
        return False
    inner = twin.values(*(_beside(inputs[name], 0) for name in twin.inputs)).values()
    if any(bool(y.isnan().any()) for y in inner if y.is_floating_point()):
        return False
    real = [y for outputs in there for y in outputs if y.is_floating_point()]
    return bool(real) and all(y.dtype == torch.float64 and bool(y.isfinite().all()) for y in real)


def _beside(x: Tensor, shift: float) -> Tensor:
    return x.double() + shift * x.double().abs().mean() if x.is_floating_point() else x


def check(network: Network, inputs: dict[str, Tensor], case: Case) -> None:
    verify_backward(network, inputs, WITHOUT_DERIVATIVE.get(case.operator), case.name)


def verify_backward(network: Network, inputs: dict[str, Tensor], without: str | None = None, title: str = "") -> None:
    """The backward pass agrees with finite differences, for all inputs but one, and all parameters."""
    given = {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}
    outputs = dict(zip(network.outputs, run(network.copy().to(dtype=torch.float64), given), strict=True))
    objective = Projection({name: y for name, y in outputs.items() if y.is_floating_point()})
    wanted = [name for name in network.inputs if name != without]
    report = check_network(network, *given.values(), objective=objective, wrt=("parameters", *wanted), tolerance=1e-5)
    assert report.passed, f"{title}: {report}"
