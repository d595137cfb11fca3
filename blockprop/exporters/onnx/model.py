"""The whole file: all nodes written one after the other, what goes in and comes out, and where the weights are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto
from torch import Tensor

from blockprop.engine.about import METADATA
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, UnsupportedError
from blockprop.exporters.onnx.trials import Example, Trials, run_trials
from blockprop.exporters.onnx_operators.table import HANDLERS, REASONS
from blockprop.exporters.operand import Operand
from blockprop.exporters.writer import TYPES, Writer, as_proto, bytes_of
from blockprop.exporters.writing import Writing
from blockprop.saving.files import dump, put_bytes, replaced
from blockprop.version import __version__

LARGEST = 2**31 - 2**24
"""Bytes of weights that a protobuf message holds, with room for the graph."""
MOST_SHOWN = 30
NO_FORM = "no ONNX form"
HINT = (
    "To add one for a type of block: a function under @exports(TheBlock), as blockprop.exporters.onnx_operators.table "
    "says."
)


def model_of(network: Network, opset: int, shape: Example, title: str) -> tuple[ModelProto, dict[str, Tensor]]:
    """(the model without its weights, the weights by name)

    Raises UnsupportedError with all nodes that cannot be written.
    """
    missing = [node for node in network.nodes if type(node.block) not in HANDLERS]
    problems = {node.name: (node, REASONS.get(type(node.block), NO_FORM)) for node in missing}
    try:
        trials = run_trials(network, shape)
    except BlockpropError:
        if problems:
            raise _refusal(network, problems) from None
        raise
    operands = {key: Operand(key, tensors) for key, tensors in trials.values.items()}
    writer = Writer(opset, network.keys, network.outputs)
    owners = {id(block): name for name, block in network.unique_blocks.items()}
    for node in network.nodes:
        if node.name not in problems:
            try:
                _write_node(writer, node, owners[id(node.block)], operands)
            except UnsupportedError as error:
                problems[node.name] = node, str(error)
    if problems:
        raise _refusal(network, problems)
    return _assembled(network, writer, operands, trials, title), writer.tensors


def _write_node(writer: Writer, node: Node, owner: str, operands: Mapping[str, Operand]) -> None:
    writing = Writing(writer, node, owner, [operands[key] for key in node.inputs], [operands[key] for key in node.keys])
    for operand in (*writing.inputs, *writing.outputs):
        if operand.dtype not in TYPES:
            raise UnsupportedError(f"numbers of the type {operand.dtype}")
    writing.finish(HANDLERS[type(node.block)](writing, node.block, *writing.inputs))


def _refusal(network: Network, problems: Mapping[str, tuple[Node, str]]) -> UnsupportedError:
    refused = [problems[node.name] for node in network.nodes if node.name in problems]
    lines = [f"  {node.name}: {node.block!r}: {why}" for node, why in refused[:MOST_SHOWN]]
    if len(refused) > MOST_SHOWN:
        lines.append(f"  … and {len(refused) - MOST_SHOWN} more")
    kinds = sorted({type(node.block).__name__ for node, _ in refused})
    head = f"{len(refused)} node{'s' * (len(refused) > 1)} cannot be written as ONNX ({', '.join(kinds)}):"
    return UnsupportedError("\n".join([head, *lines, *[HINT] * any(why == NO_FORM for _, why in refused)]))


def _assembled(
    network: Network, writer: Writer, operands: Mapping[str, Operand], trials: Trials, title: str
) -> ModelProto:
    outputs = _outputs(network, writer)
    names = _names_of_sizes(trials)
    graph = onnx.helper.make_graph(
        writer.nodes,
        title or "network",
        [_input(operands[name], trials) for name in network.inputs],
        [_output(name, operands[key], names) for name, key in zip(outputs, network.outputs, strict=True)],
    )
    version = [onnx.helper.make_opsetid("", writer.opset)]
    model = onnx.helper.make_model(
        graph,
        opset_imports=version,
        ir_version=onnx.helper.find_min_ir_version_for(version),
        producer_name="blockprop",
        producer_version=__version__,
        doc_string=f"Written by blockprop {__version__}",
    )
    onnx.helper.set_model_props(model, {METADATA: dump(network.meta)})
    return model


def _outputs(network: Network, writer: Writer) -> list[str]:
    """Names of the outputs: the network's own, but no two alike, and none that an input or a weight has."""
    taken = {*network.inputs, *writer.tensors}
    names = []
    for key in network.outputs:
        name = key
        if key in taken:
            name = writer.unique(key)
            writer.nodes.append(onnx.helper.make_node("Identity", [key], [name], writer.title(name)))
        taken.add(name)
        names.append(name)
    return names


def _names_of_sizes(trials: Trials) -> dict[tuple[int, int], str | None]:
    """The name of each pair of sizes in the trials that only one free axis has."""
    by_sizes: dict[tuple[int, int], str | None] = {}
    for (key, axis), name in trials.free.items():
        one, two = trials.values[key]
        pair = one.shape[axis], two.shape[axis]
        by_sizes[pair] = name if by_sizes.get(pair, name) == name else None
    return by_sizes


def _input(operand: Operand, trials: Trials) -> ValueInfoProto:
    sizes = [trials.free.get((operand.name, axis), size) for axis, size in enumerate(operand.trials[0].shape)]
    return onnx.helper.make_tensor_value_info(operand.name, TYPES[operand.dtype], sizes)


def _output(name: str, operand: Operand, names: Mapping[tuple[int, int], str | None]) -> ValueInfoProto:
    pairs = zip(*(trial.shape for trial in operand.trials), strict=True)
    sizes = [a if a == b else names.get((a, b)) or f"{name}_{axis}" for axis, (a, b) in enumerate(pairs)]
    return onnx.helper.make_tensor_value_info(name, TYPES[operand.dtype], sizes)


def write(model: ModelProto, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write the model and its weights; those too large for one file go into a second one, PATH.data."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size <= LARGEST:
        model.graph.initializer.extend(as_proto(name, tensor) for name, tensor in tensors.items())
        with replaced(path) as temporary:
            put_bytes(temporary, model.SerializeToString())
        return
    beside = path.with_name(path.name + ".data")
    with replaced(beside) as data, replaced(path) as temporary:
        model.graph.initializer.extend(_put_outside(tensors, data, beside.name))
        put_bytes(temporary, model.SerializeToString())


def _put_outside(tensors: Mapping[str, Tensor], data: Path, location: str) -> Sequence[TensorProto]:
    """Write the numbers one after the other into a file; return the tensors that refer to it."""
    protos = []
    with data.open("wb") as file:
        for name, tensor in tensors.items():
            small = tensor.numel() < 1024
            proto = as_proto(name, tensor, with_data=small)
            if not small:
                proto.data_location = TensorProto.EXTERNAL
                entries: dict[str, Any] = {"location": location, "offset": file.tell()}
                entries["length"] = file.write(bytes_of(tensor))
                for key, value in entries.items():
                    proto.external_data.add(key=key, value=str(value))
            protos.append(proto)
    return protos
