"""The node tests of the onnx package as cases: small models of one operator each, with their expected outputs."""

import functools
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, OptionalProto, SequenceProto, TensorProto, helper, numpy_helper
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.errors import BlockpropError
from blockprop.importers import from_onnx

TOLERANCE = {torch.float16: 1e-2, torch.bfloat16: 1e-1}
"""Relative, of what is not computed in float32."""


class Case(NamedTuple):
    """A model with inputs and expected outputs. operator: its only one, or that from whose definition it was made."""

    name: str
    operator: str
    model: ModelProto
    inputs: dict[str, Tensor]
    outputs: list[Tensor]


@functools.cache
def _collected() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return collect_testcases(None)


def count_of_all() -> int:
    """How many node tests the package has, without those that write an operator out as others."""
    return len([case for case in _collected() if "_expanded" not in case.name])


@functools.cache
def node_cases() -> dict[str, Case]:
    """All node tests of the installed onnx whose numbers torch can hold, by name."""
    cases = {}
    for each in _collected():
        inputs, outputs = each.data_sets[0]
        names = [given.name for given in each.model.graph.input]
        try:
            tensors = dict(zip(names, map(tensor_of, inputs), strict=True))
            expected = [tensor_of(part) for y in outputs for part in (y if isinstance(y, list) else [y])]
            cases[each.name] = Case(each.name, _operator(each.name, each.model), each.model, tensors, expected)
        except (TypeError, ValueError):  # sequences, text, numbers of 4 and 8 bits
            continue
    return cases


def _operator(name: str, model: ModelProto) -> str:
    if "_expanded" in name:
        return "expanded"
    node = model.graph.node[0]
    return ".".join(filter(None, (node.domain, node.op_type))) if len(model.graph.node) == 1 else "several"


def tensor_of(value: Any) -> Tensor:
    """An array, number or TensorProto as a tensor; TypeError if torch has no such numbers."""
    if isinstance(value, list | SequenceProto | OptionalProto | type(None)):
        raise TypeError("a sequence")
    array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def by_operator(cases: Iterable[Case]) -> dict[str, list[Case]]:
    """The cases of each operator."""
    found = defaultdict(list)
    for case in cases:
        found[case.operator].append(case)
    return dict(sorted(found.items()))


def imported(model: ModelProto, inputs: dict[str, Tensor], folder: Path) -> Network:
    """The network of a case. Its weights are inputs of the model: if they cannot be that, they become constants.

    First none, then all inputs but the first, then all.
    """
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    names = [given.name for given in model.graph.input]
    for constants in ([], names[1:], names):
        try:
            return from_onnx(path, constants={name: inputs[name] for name in constants})
        except BlockpropError as error:
            last = error
    raise last


def run(network: Network, inputs: dict[str, Tensor]) -> list[Tensor]:
    """The network's outputs."""
    outputs = network(*(inputs[name] for name in network.inputs))
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def verify(found: list[Tensor], expected: list[Tensor]) -> None:
    """The outputs have the same values (rtol 1e-3 as in the package), shapes and types of number."""
    for mine, theirs in zip(found, expected, strict=False):  # a case may expect fewer than the node has
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        rtol = TOLERANCE.get(theirs.dtype, 1e-3)
        same = torch.testing.assert_close
        if theirs.dtype == torch.bool:
            assert torch.equal(mine, theirs)
        else:
            same(mine.double(), theirs.double(), rtol=rtol, atol=rtol / 10 if rtol > 1e-3 else 1e-6, equal_nan=True)


REDUCTIONS = ("Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
ONCE_ATTRIBUTES: dict[str, tuple[int, dict[int, str]]] = {
    "Squeeze": (13, {1: "axes"}),
    "Unsqueeze": (13, {1: "axes"}),
    "ReduceSum": (13, {1: "axes"}),
    "Slice": (10, {1: "starts", 2: "ends", 3: "axes", 4: "steps"}),
    "Pad": (11, {1: "pads", 2: "value"}),
    "Clip": (11, {1: "min", 2: "max"}),
    "Dropout": (12, {1: "ratio", 2: "training_mode"}),
    "TopK": (10, {1: "k"}),
    "Split": (13, {1: "split"}),
    "Upsample": (9, {1: "scales"}),
} | {f"Reduce{name}": (18, {1: "axes"}) for name in REDUCTIONS}
"""Inputs that were attributes before this version."""
NUMBERS = {"value", "min", "max", "ratio", "k", "training_mode"}
OLDEST, NEWEST = 7, 21
"""The opsets whose operators are tried."""


@functools.cache
def versions(operator: str) -> dict[int, tuple[int, Any]]:
    """since-version -> (an opset of 7…21 that has it, its definition)"""
    history = onnx.defs.get_all_schemas_with_history()
    found = [schema for schema in history if schema.name == operator and not schema.domain]
    found.sort(key=lambda schema: schema.since_version)
    following = [*(schema.since_version for schema in found[1:]), 1000][: len(found)]
    return {
        schema.since_version: (max(schema.since_version, OLDEST), schema)
        for schema, after in zip(found, following, strict=True)
        if schema.since_version <= NEWEST and after > OLDEST and not schema.deprecated
    }


def at_version(case: Case, version: int) -> tuple[ModelProto, dict[str, Tensor]] | None:
    """The case's model in an opset that has the operator in this version; None if that cannot say it."""
    opset, schema = versions(case.operator)[version]
    node, gone = _with_attributes(case, opset)
    unknown = [a.name for a in node.attribute if a.name not in schema.attributes]
    while node.input and not node.input[-1]:
        node.input.pop()
    if unknown or len(node.input) > schema.max_input:
        return None
    given = [each for each in case.model.graph.input if each.name not in gone]
    graph = helper.make_graph([node], "case", given, list(case.model.graph.output))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return model, {each.name: case.inputs[each.name] for each in given}


def _with_attributes(case: Case, opset: int) -> tuple[NodeProto, set[str]]:
    """The node with attributes in place of the inputs that its opset does not know yet, and those inputs' names."""
    node = NodeProto()
    node.CopyFrom(case.model.graph.node[0])
    since, once = ONCE_ATTRIBUTES.get(case.operator, (0, {}))
    if opset >= since:
        return node, set()
    kept, gone = [], set()
    for i, name in enumerate(node.input):
        if i not in once:
            kept.append(name)
        elif name:
            gone.add(name)
            value: Any = case.inputs[name].flatten().tolist()
            value = value[0] if once[i] in NUMBERS and len(value) == 1 else value
            if value != [] and not _is_default(once[i], value):
                node.attribute.append(helper.make_attribute(once[i], value))
    del node.input[:]
    node.input.extend(kept)
    return node, gone


def _is_default(name: str, value: Any) -> bool:
    return (name == "steps" and set(value) == {1}) or (name == "training_mode" and not value)


def older_cases(case: Case) -> Iterator[tuple[int, ModelProto, dict[str, Tensor]]]:
    """(version, model, inputs) for each version of the case's operator in the opsets 7…21 that can say it."""
    for version in versions(case.operator) if len(case.model.graph.node) == 1 else ():
        found = at_version(case, version)
        if found:
            yield (version, *found)
