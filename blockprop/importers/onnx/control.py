"""Nodes that run graphs: branches, loops, scans, and operators that the standard defines by others."""

from collections.abc import Sequence
from typing import Any

import onnx
import torch
from onnx import AttributeProto, FunctionProto, NodeProto, helper

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Known
from blockprop.importers.onnx.bodies import Body, Named, Walker, all_at_once
from blockprop.importers.onnx.order import branches, needed_nodes
from blockprop.importers.onnx_calls import OnnxCall, Several
from blockprop.importers.onnx_tensors import number_of

MOST_ROUNDS = 10_000
"""Rounds of a loop that is written out."""


def attributes_in(node: NodeProto) -> Named:
    """The node's attributes as they are."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def branch(interpreter: Walker, call: OnnxCall, node: NodeProto, inputs: Sequence[Any], values: Named) -> Any:
    """If: the outputs of the branch that a constant condition chooses."""
    wanted = "then_branch" if bool(call.number_in(inputs[0])) else "else_branch"
    if wanted not in [a.name for a in node.attribute if a.HasField("g")] or not branches(node):
        raise GraphError(f"it has no {wanted}")
    return Body(interpreter, node, wanted, values).run([])


def loop(interpreter: Walker, call: OnnxCall, node: NodeProto, inputs: Sequence[Any], values: Named) -> Any:
    """Loop: round after round written out, as long as their number follows from constants and fixed sizes."""
    body = Body(interpreter, node, "body", values)
    count = call.number_in(inputs[0]) if inputs[0] is not None else MOST_ROUNDS
    going = inputs[1] if len(inputs) > 1 and inputs[1] is not None else Known(torch.tensor(True))
    state, rows, done = list(inputs[2:]), [], 0
    while done < count and call.number_in(going):
        if done >= MOST_ROUNDS:
            raise UnsupportedError(f"more than {MOST_ROUNDS} rounds")
        going, *outputs = body.run([Known(torch.tensor(done)), going, *state])
        state, row = outputs[: len(state)], outputs[len(state) :]
        rows.append(row)
        done += 1
    made = len(body.outputs) - 1 - len(state)
    if made and not rows:
        raise UnsupportedError("no rounds at all, so that what they would give has no shape")
    return [*state, *(stacked(call, [row[i] for row in rows], 0) for i in range(made))]


def scan(interpreter: Walker, call: OnnxCall, node: NodeProto, inputs: Sequence[Any], values: Named) -> Any:
    """Scan: all steps at once if each computes the same by itself, else step after step written out."""
    settings = attributes_in(node)
    count = settings["num_scan_inputs"]
    state, scanned = list(inputs[:-count]), list(inputs[-count:])
    body = Body(interpreter, node, "body", values)
    made = len(body.outputs) - len(state)
    axes = [axis % x.axes for axis, x in zip(settings.get("scan_input_axes") or [0] * count, scanned, strict=True)]
    backward = settings.get("scan_input_directions") or [0] * count
    out_axes = settings.get("scan_output_axes") or [0] * made
    reversed_outputs = settings.get("scan_output_directions") or [0] * made
    steps = scanned[0].shape[axes[0]]
    if not any((*out_axes, *backward, *reversed_outputs)):
        outputs = all_at_once(body, call, state, scanned, axes)
        if outputs is not None:
            return outputs
    if not isinstance(steps, int):
        raise FreeSizeError("the number of steps")
    if steps > MOST_ROUNDS:
        raise UnsupportedError(f"more than {MOST_ROUNDS} steps")
    rows: list[list[Any]] = []
    for step in range(steps):
        places = [steps - 1 - step if back else step for back in backward]
        parts = [
            call.add(blocks.Select(axis, place), x, part="step")
            for x, axis, place in zip(scanned, axes, places, strict=True)
        ]
        outputs = body.run([*state, *parts])
        state = outputs[: len(state)]
        rows.append(outputs[len(state) :])
    columns = [[row[i] for row in (reversed(rows) if reversed_outputs[i] else rows)] for i in range(made)]
    return [*state, *(stacked(call, column, axis) for column, axis in zip(columns, out_axes, strict=True))]


def stacked(call: OnnxCall, parts: Sequence[Any], axis: int) -> Any:
    """The parts along a new axis."""
    if not parts:
        raise UnsupportedError("no steps at all")
    axis = axis % (parts[0].axes + 1)
    rows = [call.add(blocks.Unsqueeze((axis,)), part, part="row") for part in parts]
    return rows[0] if len(rows) == 1 else call.add(blocks.Concat(axis), *rows, part="stacked")


def defined(interpreter: Walker, node: NodeProto, domain: str, inputs: Sequence[Any]) -> list[Any] | None:
    """The outputs of an operator without a block whose definition in the standard is by others; None without one."""
    try:
        schema = onnx.defs.get_schema(node.op_type, interpreter.opsets.get(domain, 0), domain)
    except Exception:  # ONNX' own SchemaError, which it does not show: there is no such operator
        return None
    function = _definition(node, schema, interpreter.opsets.get("", 0), inputs)
    if function is None:
        return None
    given = {attribute.name: attribute for attribute in node.attribute}
    for name, attribute in schema.attributes.items():
        if attribute.default_value.type:
            given.setdefault(name, attribute.default_value)
    inside: Named = dict.fromkeys(function.input)
    inside.update(zip(function.input, inputs, strict=False))
    name = node.name or next(output for output in node.output if output)
    outer, before = interpreter.opsets, len(interpreter.problems)
    interpreter.opsets = outer | {opset.domain: opset.version for opset in function.opset_import}
    try:
        wanted = [output for output, made in zip(function.output, node.output, strict=False) if made]
        nodes = needed_nodes(_filled_in(function.node, given, name), wanted, set(inside))
        interpreter.walk(nodes, inside)
    finally:
        interpreter.opsets = outer
    if problems := interpreter.problems[before:]:
        del interpreter.problems[before:]
        raise UnsupportedError(f"its definition takes {problems[0].operator}: {problems[0].why}")
    return [inside.get(output) for output in function.output]


def _definition(node: NodeProto, schema: Any, opset: int, inputs: Sequence[Any]) -> FunctionProto | None:
    versions = [v for v in schema.function_opset_versions if v <= opset]
    if versions:
        return FunctionProto.FromString(schema.get_function_with_opset_version(max(versions)))
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions or any(isinstance(value, Several) for value in inputs):
        return None
    types = [
        onnx.TypeProto() if value is None else helper.make_tensor_type_proto(number_of(value.dtype), _sizes(value))
        for value in inputs
    ]
    content = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.SerializeToString(), [proto.SerializeToString() for proto in types]
    )
    return FunctionProto.FromString(content) if content else None


def _sizes(value: Any) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in value.shape]


def _filled_in(nodes: Sequence[NodeProto], given: dict[str, AttributeProto], around: str) -> list[NodeProto]:
    """The definition's nodes, with the attributes of the node that it defines, and named after it."""
    filled = []
    for inner in nodes:
        node = NodeProto()
        node.CopyFrom(inner)
        node.name = f"{around}.{inner.name or next((output for output in inner.output if output), inner.op_type)}"
        del node.attribute[:]
        for attribute in inner.attribute:
            if attribute.ref_attr_name and attribute.ref_attr_name not in given:
                continue
            made = node.attribute.add()
            made.CopyFrom(given[attribute.ref_attr_name] if attribute.ref_attr_name else attribute)
            made.name = attribute.name
            if made.type == AttributeProto.GRAPH:
                body = _filled_in(made.g.node, given, around)
                del made.g.node[:]
                made.g.node.extend(body)
        filled.append(node)
    return filled


CONTROLS = {"If": branch, "Loop": loop, "Scan": scan}
"""Operators that run graphs, in ONNX' own domain."""
