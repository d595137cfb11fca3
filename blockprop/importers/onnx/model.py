"""An ONNX file, read and checked: what a walk over its operators starts from. Nothing in the file is believed."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
)
from torch import Tensor

from blockprop.engine.about import METADATA, require_about
from blockprop.errors import BlockpropError, FormatError, GraphError, SettingError, UnsupportedError, suggestion
from blockprop.importers.graph import MOST_NODES, Known
from blockprop.importers.onnx.order import branches, describe, names_in, needed_nodes, nested
from blockprop.importers.onnx_calls import Texts
from blockprop.importers.onnx_operators.table import DOMAINS
from blockprop.importers.onnx_tensors import dtype_of, require_once, tensor_of
from blockprop.saving.files import StrPath, parse, require_file, short

LARGEST_FILE = 2**31
"""Bytes of a protobuf message."""
OF_ENDS: dict[str, type] = {"classes": list, "picture": dict, "preprocessing": dict, "encoder": dict}
OF_ENDS |= {"target": str, "data": str, "architecture": str, "crop": str}
"""What `network.meta` says of inputs and outputs, which stay the same on the way through a file, and of which kind."""


@dataclass
class Given:
    """An input of the network. sizes: numbers, names of free sizes, None for free ones without a name."""

    dtype: torch.dtype
    """Of an input of texts int64: numbers stand for them."""
    sizes: tuple[int | str | None, ...] | None
    is_text: bool = False


@dataclass
class Model:
    """What the file says.

    nodes: those that the outputs depend on, in an order in which they can run   tensors: weights and constants
    opsets: version of each domain   shared: values that differently used operators take
    places: where in the file the node stands that makes a value, by the value's name
    size: how many nodes there are, those in branches and bodies included
    """

    nodes: list[NodeProto]
    tensors: dict[str, Any]
    inputs: dict[str, Given]
    outputs: list[str]
    opsets: dict[str, int]
    shared: set[str]
    folder: Path
    source: dict[str, Any]
    about: dict[str, Any]
    places: dict[str, str]
    size: int


def read_model(path: StrPath, constants: Mapping[str, Any] | None = None) -> Model:
    """Read the file. FormatError if it is not an ONNX file or damaged, GraphError if its graph is not one."""
    proto = _parsed(Path(path))
    opsets = _opsets(proto)
    proto = _without_functions(proto)
    graph = proto.graph
    for name in _names(graph):
        if not isinstance(name, str):  # protobuf gives the bytes of what is no UTF-8
            raise FormatError(f"expected names in UTF-8; one of them is {name!r}")
    require_once(_tensors_in(graph), Path(path).parent)
    fixed = _fixed(constants or {}, graph)
    tensors = local_tensors(graph, Path(path).parent, fixed)
    nodes = needed_nodes(graph.node, [value.name for value in graph.output], {*tensors, *(i.name for i in graph.input)})
    if not graph.output:
        raise GraphError("the graph has no outputs")
    inputs = {value.name: _given(value) for value in graph.input if value.name not in tensors}
    if len(inputs) + len([value for value in graph.input if value.name in tensors]) < len(graph.input):
        raise GraphError("the graph has two inputs of one name")
    shared = _shared(nodes, [value.name for value in graph.output])
    for name, tensor in tensors.items():
        tensor.tied = tensor.trained and name in shared
    source = {"format": "onnx", "opset": opsets[""], "producer": proto.producer_name}
    places, about = _places(graph.node), _about(proto)
    outputs = [value.name for value in graph.output]
    size = sum(1 for _ in nested(graph.node))
    return Model(nodes, tensors, inputs, outputs, opsets, shared, Path(path).parent, source, about, places, size)


def _about(proto: ModelProto) -> dict[str, Any]:
    """What `to_onnx` has written about the network's input and outputs; nothing in files of others."""
    text = next((prop.value for prop in proto.metadata_props if prop.key == METADATA), None)
    if text is None:
        return {}
    with suppress(FormatError):  # another program may have put something of its own there
        about = parse(text)
        require_about(about)
        return {name: value for name, value in about.items() if isinstance(value, OF_ENDS.get(name, ()))}
    return {}


def _places(nodes: Sequence[NodeProto], around: str = "") -> dict[str, str]:
    """ "node 3 of 12" for each value that a node makes, those in branches included."""
    places: dict[str, str] = {}
    for i, node in enumerate(nodes, 1):
        where = f"node {i} of {len(nodes)}{around}"
        places.update(dict.fromkeys(node.output, where))
        for inner in branches(node):
            places.update(_places(inner.node, f" in {describe(node)}"))
    return places


def _parsed(path: Path) -> ModelProto:
    require_file(path)
    try:
        if path.stat().st_size >= LARGEST_FILE:
            raise FormatError(f"{path.stat().st_size} bytes; an ONNX file has less than {LARGEST_FILE}")
        proto = ModelProto.FromString(path.read_bytes())
    except (DecodeError, OSError, ValueError, RecursionError) as error:
        if isinstance(error, BlockpropError):
            raise
        raise FormatError(f"expected an ONNX model; this is none, or damaged ({error})") from None
    if not proto.HasField("graph") or not proto.opset_import:
        raise FormatError("expected an ONNX model; this has no graph, or no opset")
    return proto


def _names(graph: GraphProto) -> Iterator[str]:
    """All names in the graph and the graphs within it."""
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        for inner in branches(node):
            yield from _names(inner)


def _tensors_in(graph: GraphProto) -> Iterator[TensorProto]:
    """All weights and constants in the graph and the graphs within it."""
    yield from graph.initializer
    for node in nested(graph.node):
        yield from (attribute.t for attribute in node.attribute)
        for inner in branches(node):
            yield from inner.initializer


def _opsets(proto: ModelProto) -> dict[str, int]:
    opsets = {DOMAINS.get(opset.domain, opset.domain): opset.version for opset in proto.opset_import}
    newest = onnx.defs.onnx_opset_version()
    if "" not in opsets:
        opsets[""] = 1
    if not 1 <= opsets[""] <= newest:
        raise UnsupportedError(
            f"it is written in opset {opsets['']}; the installed onnx {onnx.__version__} knows 1 to {newest}"
        )
    return opsets


def _without_functions(proto: ModelProto) -> ModelProto:
    """The model with the calls of its own functions replaced by what they do."""
    if not proto.functions:
        return proto
    _check_functions(proto)
    try:
        import onnx.inliner

        return onnx.inliner.inline_local_functions(proto)
    except Exception as error:  # the inliner is C++, which complains in its own ways
        raise GraphError(f"its functions cannot be inlined ({short(error)})") from None


def _check_functions(proto: ModelProto) -> None:
    """GraphError if a function calls itself, which would never end, or if the calls come to too many nodes."""
    inside: dict[Any, list[NodeProto]] = {}
    for function in proto.functions:
        key = (function.domain, function.name, function.overload)
        inside.setdefault(key, []).extend(nested(function.node))
    calls = {key: {_called(node) for node in nodes} for key, nodes in inside.items()}
    try:
        order = [key for key in TopologicalSorter(calls).static_order() if key in inside]
    except CycleError as error:
        raise GraphError(f"the function {error.args[1][0][1]!r} calls itself") from None
    work: dict[Any, int] = {}
    for key in order:
        work[key] = sum(work.get(_called(node), 1) for node in inside[key])
        if work[key] > MOST_NODES:
            raise GraphError(f"the function {key[1]!r} consists of more than {MOST_NODES} nodes")
    if sum(work.get(_called(node), 1) for node in nested(proto.graph.node)) > MOST_NODES:
        raise GraphError(f"with its functions written out the graph has more than {MOST_NODES} nodes")


def _called(node: NodeProto) -> tuple[str, str, str]:
    """The function that a node calls, if there is one of this name."""
    return node.domain, node.op_type, node.overload


def local_tensors(graph: GraphProto, folder: Path, fixed: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The graph's own weights and constants: trained are those of real numbers, but for single numbers."""
    if graph.sparse_initializer:
        raise UnsupportedError("sparse tensors")
    tensors: dict[str, Any] = {}
    for proto in graph.initializer:
        if proto.name in tensors:
            raise GraphError(f"two tensors are called {proto.name!r}")
        if proto.data_type == TensorProto.STRING:
            tensors[proto.name] = texts_of(proto)
            continue
        tensor = tensor_of(proto, folder)
        tensors[proto.name] = Known(tensor, proto.name, trained=tensor.is_floating_point() and tensor.dim() > 0)
    for name, tensor in (fixed or {}).items():
        tensors[name] = Known(tensor, name, trained=tensor.is_floating_point() and tensor.dim() > 0)
    return tensors


def texts_of(proto: TensorProto) -> Texts:
    """A tensor of texts."""
    names = tuple(text.decode(errors="replace") for text in proto.string_data)
    if math.prod(proto.dims) != len(names):
        raise FormatError(f"the tensor {proto.name!r} of shape {list(proto.dims)} has {len(names)} texts")
    return Texts(Known(torch.arange(len(names)).reshape(list(proto.dims)), proto.name), names)


def _shared(nodes: list[NodeProto], outputs: Iterable[str]) -> set[str]:
    """The values that differently used operators take, or that are outputs besides."""
    uses: dict[str, set[bytes | str]] = {name: {"output"} for name in outputs}
    for node in nodes:
        settings = b"".join(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
        for i, name in enumerate(node.input):
            rest = ",".join(node.input[1:]) if i else ""
            uses.setdefault(name, set()).add(f"{node.op_type} {i} {rest} ".encode() + settings)
        for name in names_in(node)[len(node.input) :]:
            uses.setdefault(name, set()).add("branch")
    return {name for name, kinds in uses.items() if len(kinds) > 1}


def _given(value: ValueInfoProto) -> Given:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedError(f"the input {value.name!r} is no tensor, but a {_kind(value.type)}")
    tensor = value.type.tensor_type
    is_text = tensor.elem_type == TensorProto.STRING
    dtype = torch.int64 if is_text else dtype_of(tensor.elem_type)
    if not tensor.HasField("shape"):
        return Given(dtype, None, is_text)
    sizes = tuple(_size(dim) for dim in tensor.shape.dim)
    if len(sizes) > 8:
        raise UnsupportedError(f"the input {value.name!r} has {len(sizes)} axes")
    return Given(dtype, sizes, is_text)


def _size(dim: Any) -> int | str | None:
    if dim.WhichOneof("value") == "dim_value":
        # Older exporters write 0 or −1 for a free size.
        return int(dim.dim_value) if dim.dim_value > 0 else None
    return dim.dim_param or None


def _kind(proto: TypeProto) -> str:
    return str(proto.WhichOneof("value") or "value without a type").removesuffix("_type")


def _fixed(constants: Mapping[str, Any], graph: GraphProto) -> dict[str, Tensor]:
    """The inputs that the user gives a value, as tensors of the types that the model says."""
    dtypes = {value_info.name: value_info.type.tensor_type.elem_type for value_info in graph.input}
    fixed = {}
    for name, value in constants.items():
        if name not in dtypes:
            raise SettingError(f"the model has no input {name!r} to be constant{suggestion(name, dtypes)}")
        tensor = value.detach().clone() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        fixed[name] = tensor.to(dtype_of(dtypes[name]))
    return fixed
