"""Graphs inside a node: read once, then walked over as often as the node runs them, or for all steps at once."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from onnx import GraphProto, NodeProto

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Known
from blockprop.importers.onnx.model import Model, local_tensors
from blockprop.importers.onnx.order import needed_nodes
from blockprop.importers.onnx_calls import OnnxCall
from blockprop.importers.problems import Problem

Named = dict[str, Any]
MOST_WRITTEN = 5_000
"""Nodes that loops write out, beside those that the file has."""
ELEMENTWISE = {
    *("Identity", "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Abs", "Neg", "Sqrt", "Exp", "Log", "Relu"),
    *("Tanh", "Sigmoid", "Sign", "Reciprocal", "Cast"),
}
REDUCTIONS = {f"Reduce{name}" for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp")}


class Walker(Protocol):
    """What a body needs of the interpreter that walks over it."""

    model: Model
    problems: list[Problem]
    opsets: dict[str, int]
    written: int
    bodies: dict[tuple[int, str], tuple[NodeProto, Named, list[NodeProto]]]

    def walk(self, nodes: Iterable[NodeProto], values: Named) -> None: ...


class Unfinished(Exception):
    """A graph inside a node has operators that are not supported, which the interpreter has collected."""


class Body:
    """A graph inside a node, ready to be walked over: its weights are read once, so that all rounds share them."""

    def __init__(self, interpreter: Walker, node: NodeProto, name: str, values: Named):
        """name: of the node's attribute that holds the graph."""
        self.interpreter = interpreter
        graph: GraphProto = next(attribute.g for attribute in node.attribute if attribute.name == name)
        self.inputs, self.outputs = [i.name for i in graph.input], [o.name for o in graph.output]
        key = id(node), name
        if key not in interpreter.bodies:
            tensors = local_tensors(graph, interpreter.model.folder)
            nodes = needed_nodes(graph.node, self.outputs, {*values, *tensors, *self.inputs})
            interpreter.bodies[key] = node, tensors, nodes  # the node, so that the id stays its own
        _, tensors, self.nodes = interpreter.bodies[key]
        self.around = values | tensors

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """The graph's outputs for these inputs."""
        if len(inputs) != len(self.inputs):
            raise GraphError(f"its graph takes {len(self.inputs)} inputs, and gets {len(inputs)}")
        self.interpreter.written += len(self.nodes)
        if self.interpreter.written > MOST_WRITTEN + self.interpreter.model.size:
            raise UnsupportedError(f"more than {MOST_WRITTEN:,} nodes, when all rounds of its loops are written out")
        inside, before = self.around | dict(zip(self.inputs, inputs, strict=True)), len(self.interpreter.problems)
        self.interpreter.walk(self.nodes, inside)
        if len(self.interpreter.problems) > before:
            raise Unfinished
        return [inside[name] for name in self.outputs]


def all_at_once(
    body: Body, call: OnnxCall, state: Sequence[Any], scanned: Sequence[Any], axes: Sequence[int]
) -> list[Any] | None:
    """What a scan gives if each step computes the same by itself: the graph, with one axis more for the steps.

    None if a step hands something on to the next, or takes an operator of which it is not sure.
    """
    inside = body.around | dict(zip(body.inputs, [*state, *scanned], strict=True))
    ranks: dict[str, int] = {}
    for name, x, axis in zip(body.inputs[len(state) :], scanned, axes, strict=True):
        order = (axis, *(i for i in range(x.axes) if i != axis))
        inside[name] = call.add(blocks.Transpose(order), x, part="steps_first") if axis else x
        ranks[name] = x.axes - 1
    for node in body.nodes:
        if not _with_steps(body.interpreter, call, node, inside, ranks):
            return None
    kept, made = body.outputs[: len(state)], body.outputs[len(state) :]
    if any(inside[name] is not before for name, before in zip(kept, state, strict=True)):
        return None
    return [*state, *(inside[name] for name in made)] if all(name in ranks for name in made) else None


def _with_steps(interpreter: Walker, call: OnnxCall, node: NodeProto, inside: Named, ranks: dict[str, int]) -> bool:
    """Walk over a node; what follows the steps has them as its first axis, and its own rank among `ranks`."""
    if not any(name in ranks for name in node.input):
        interpreter.walk([node], inside)
        return True
    values = dict(inside)
    changed = NodeProto()
    changed.CopyFrom(node)
    if node.op_type in REDUCTIONS and node.input[0] in ranks:
        if not _shift_axes(call, changed, values):
            return False
    elif node.op_type in ELEMENTWISE:
        rank = max(ranks.get(name, inside[name].axes) for name in node.input)
        for name in set(node.input) & ranks.keys():
            if missing := tuple(range(1, rank - ranks[name] + 1)):
                values[name] = call.add(blocks.Unsqueeze(missing), inside[name], part="aligned")
    else:
        return False
    interpreter.walk([changed], values)
    inside[node.output[0]] = values[node.output[0]]
    ranks[node.output[0]] = values[node.output[0]].axes - 1
    return True


def _shift_axes(call: OnnxCall, node: NodeProto, values: Named) -> bool:
    """The axes of a reduction, counted with one more in front; False if it is over all axes."""
    for attribute in node.attribute:
        if attribute.name == "axes":
            shifted = [axis + (axis >= 0) for axis in attribute.ints]
            del attribute.ints[:]
            attribute.ints.extend(shifted)
            return True
    if len(node.input) < 2:
        return False
    axes = torch.tensor([axis + (axis >= 0) for axis in call.whole_in(values[node.input[1]])])
    node.input[1] = f"{node.input[1]} with steps"
    values[node.input[1]] = Known(axes)
    return True
