"""Damaged ONNX files: bytes changed at random, and models changed field by field into nonsense."""

import random
from collections.abc import Callable
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

NUMBERS = (-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 64, 1000, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
NAMES = ("", "x", "y", "nothing", "é" * 300, "a b", "../a", "parameters", "inputs", "x[0]", "#2", "\0", "node.weight")
OPERATORS = (
    *("Conv", "Add", "Reshape", "Relu", "Gather", "Slice", "Resize", "Expand", "Tile", "Pad", "LSTM", "Concat"),
    *("Split", "Loop", "If", "Constant", "ConstantOfShape", "Range", "Einsum", "TopK", "NonZero", "Cast"),
    *("MatMul", "Gemm", "OneHot", "MaxPool", "ReduceSum", "Squeeze", "Unsqueeze", "Transpose", "Nonsense"),
    *("DepthToSpace", "RoiAlign", "GridSample"),
)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The file with one to four damages, of bytes or of fields."""
    if rng.random() < 0.4:
        return _bytes(content, rng)
    model = ModelProto.FromString(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice(FIELDS)(model, rng)
    return model.SerializeToString()


def _bytes(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    kind = rng.randrange(5)
    if kind == 0:
        del data[rng.randrange(len(data)) :]
    elif kind == 1:
        place = rng.randrange(len(data))
        data[place:place] = rng.choice((rng.randbytes(rng.randint(1, 12)), b"\xff" * 9 + b"\x01", b"\x80" * 4))
    elif kind == 2:
        place = rng.randrange(len(data))
        del data[place : place + rng.randint(1, 30)]
    else:
        early = kind == 3  # names, shapes and operators stand beside each other; most of a file is weights
        for _ in range(rng.randint(1, 8)):
            place = rng.randrange(min(len(data), 2000) if early else len(data))
            data[place] = rng.choice((data[place] ^ 1 << rng.randrange(8), rng.randrange(256)))
    return bytes(data)


def _graph(model: ModelProto, rng: random.Random) -> GraphProto:
    inner = [a.g for node in model.graph.node for a in node.attribute if a.HasField("g")]
    return rng.choice([model.graph, model.graph, *inner])


def _node(model: ModelProto, rng: random.Random) -> NodeProto:
    nodes = _graph(model, rng).node
    return rng.choice(nodes) if nodes else NodeProto()


def _pick(items: Any, rng: random.Random) -> Any:
    return rng.choice(items) if len(items) else None


def _operator(model: ModelProto, rng: random.Random) -> None:
    _node(model, rng).op_type = rng.choice(OPERATORS)


def _wiring(model: ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    names = [name for each in model.graph.node for name in (*each.input, *each.output)]
    names += [t.name for t in model.graph.initializer] + list(NAMES)
    which = rng.choice((node.input, node.output))
    if which and rng.random() < 0.7:
        which[rng.randrange(len(which))] = rng.choice(names)
    else:
        which.append(rng.choice(names))


def _fewer(model: ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    which: Any = rng.choice((node.input, node.output, node.attribute, _graph(model, rng).node, model.graph.initializer))
    if which:
        del which[rng.randrange(len(which))]


def _attribute(model: ModelProto, rng: random.Random) -> None:
    attribute = _pick(_node(model, rng).attribute, rng)
    if attribute is None:
        return
    kind = rng.randrange(4)
    if kind == 0:
        attribute.i = rng.choice(NUMBERS)
    elif kind == 1 and attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(NUMBERS)
    elif kind == 2:
        attribute.f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
        attribute.s = rng.choice((b"", b"SAME_LOWER", b"cubic", b"\xff\xfe", b"reflect"))
    else:
        attribute.type = rng.randrange(15)


def _new_attribute(model: ModelProto, rng: random.Random) -> None:
    name = rng.choice(("axis", "axes", "pads", "strides", "kernel_shape", "group", "to", "perm", "mode", "nonsense"))
    value: Any = rng.choice((rng.choice(NUMBERS), [rng.choice(NUMBERS) for _ in range(rng.randint(1, 4))], "text", 0.5))
    _node(model, rng).attribute.append(helper.make_attribute(name, value))


def _tensors(model: ModelProto) -> list[TensorProto]:
    return [*model.graph.initializer, *(a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))]


def _tensor(model: ModelProto, rng: random.Random) -> None:
    tensor = _pick(_tensors(model), rng)
    if tensor is None:
        return
    kind = rng.randrange(6)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    elif kind == 1:
        tensor.dims.append(rng.choice(NUMBERS))
    elif kind == 2:
        tensor.data_type = rng.randrange(30)
    elif kind == 3:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 4:
        tensor.name = rng.choice(NAMES)
    else:
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = rng.choice(("location", "offset")), rng.choice(("../a", "/etc/passwd", "", "a", "-1"))


def _whole_numbers(model: ModelProto, rng: random.Random) -> None:
    """Another number in a constant that says sizes, axes or indices."""
    found = [t for t in _tensors(model) if t.data_type == TensorProto.INT64]
    tensor = _pick(found, rng)
    if tensor is not None:
        values = [rng.choice(NUMBERS) for _ in range(max(len(tensor.int64_data), len(tensor.raw_data) // 8))]
        tensor.ClearField("raw_data")
        del tensor.int64_data[:]
        tensor.int64_data.extend(values)


def _input(model: ModelProto, rng: random.Random) -> None:
    given = _pick(rng.choice((model.graph.input, model.graph.output)), rng)
    if given is None:
        return
    kind = rng.randrange(5)
    dims = given.type.tensor_type.shape.dim
    if kind == 0 and dims:
        rng.choice(dims).dim_value = rng.choice(NUMBERS)
    elif kind == 1 and dims:
        rng.choice(dims).dim_param = rng.choice(("N", "H", "", "é"))
    elif kind == 2:
        given.type.tensor_type.elem_type = rng.randrange(30)
    elif kind == 3:
        given.name = rng.choice(NAMES)
    else:
        given.type.tensor_type.ClearField("shape")


def _header(model: ModelProto, rng: random.Random) -> None:
    kind = rng.randrange(4) if model.opset_import else 3
    if kind == 0:
        model.opset_import[0].version = rng.choice((0, 1, 6, 7, 9, 11, 13, 18, 21, 28, 29, 1000, -1, 2**62))
    elif kind == 1:
        model.opset_import[0].domain = rng.choice(("ai.onnx", "com.microsoft", "own", "ai.onnx.ml"))
    elif kind == 2:
        del model.opset_import[:]
    else:
        model.ir_version = rng.choice((0, 1, 3, 99, -1))


def _repeated(model: ModelProto, rng: random.Random) -> None:
    graph = _graph(model, rng)
    if graph.node:
        copy = NodeProto()
        copy.CopyFrom(rng.choice(graph.node))
        graph.node.insert(rng.randrange(len(graph.node) + 1), copy)


def _shuffled(model: ModelProto, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    copies = []
    for each in nodes:
        copy = NodeProto()
        copy.CopyFrom(each)
        copies.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _name(model: ModelProto, rng: random.Random) -> None:
    _node(model, rng).name = rng.choice(NAMES)


FIELDS: tuple[Callable[[ModelProto, random.Random], None], ...] = (
    *(_operator, _wiring, _fewer, _attribute, _attribute, _new_attribute, _tensor, _tensor, _whole_numbers),
    *(_whole_numbers, _input, _input, _header, _repeated, _shuffled, _name),
)
