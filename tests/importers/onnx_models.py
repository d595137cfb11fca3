"""Small ONNX models for the tests, written in ONNX' own text format, with random weights; and what they compute."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor

from blockprop import Network

onnxruntime.set_default_logger_severity(4)

HEAD = '<ir_version: 8, opset_import: ["" : {}]>\n'


def model(text: str, opset: int = 17, seed: int = 0, **weights: tuple[int, ...] | np.ndarray) -> ModelProto:
    """The model of this graph, with weights of these shapes (or these very arrays) as its initializers."""
    found = onnx.parser.parse_model(HEAD.format(opset) + text)
    random = np.random.default_rng(seed)
    for name, given in weights.items():
        array = given if isinstance(given, np.ndarray) else random.normal(size=given).astype(np.float32) / 2
        found.graph.initializer.append(numpy_helper.from_array(array, name))
    return found


def cnn() -> ModelProto:
    """A classifier of pictures of any size."""
    return model(
        """g (float[N, 3, H, W] x) => (float[N, 5] y) {
            c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1, b1)
            n = BatchNormalization(c, s, b, m, v)
            r = Relu(n)
            p = MaxPool<kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_UPPER">(r)
            a = Sigmoid(p)
            q = Mul(p, a)
            g = GlobalAveragePool(q)
            f = Flatten(g)
            d = Dropout(f)
            l = Gemm<transB = 1>(d, w2, b2)
            y = Softmax(l)
        }""",
        w1=(4, 3, 3, 3),
        b1=(4,),
        s=np.full(4, 1.5, np.float32),
        b=(4,),
        m=(4,),
        v=np.full(4, 0.7, np.float32),
        w2=(5, 4),
        b2=(5,),
    )


def shapes() -> ModelProto:
    """What exporters make of x.view(x.size(0), -1, 2) and F.interpolate(x, scale_factor=2)."""
    return model(
        """g (float[N, 4, H, W] x) => (float[a, b, c] y, float[a, b, c, d] z) {
            s = Shape(x)
            zero = Constant<value = int64[1] {0}>()
            n = Gather<axis = 0>(s, zero)
            minus = Constant<value = int64[1] {-1}>()
            two = Constant<value = int64[1] {2}>()
            t = Concat<axis = 0>(n, minus, two)
            y = Reshape(x, t)
            begin = Constant<value = int64[1] {2}>()
            end = Constant<value = int64[1] {4}>()
            hw = Slice(s, begin, end)
            f = Cast<to = 1>(hw)
            k = Constant<value = float[1] {2.0}>()
            m = Mul(f, k)
            e = Floor(m)
            i = Cast<to = 7>(e)
            nc = Slice(s, zero, begin)
            size = Concat<axis = 0>(nc, i)
            z = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
                (x, , , size)
        }"""
    )


def attention() -> ModelProto:
    """One head, with weights that are multiplied from the right."""
    return model(
        """g (float[N, L, 6] x) => (float[N, L, 6] y) {
            q = MatMul(x, wq)
            k = MatMul(x, wk)
            v = MatMul(x, wv)
            t = Transpose<perm = [0, 2, 1]>(k)
            s = MatMul(q, t)
            c = Constant<value = float {0.4}>()
            d = Mul(s, c)
            a = Softmax<axis = -1>(d)
            o = MatMul(a, v)
            p = Add(o, x)
            y = LayerNormalization<axis = -1>(p, g, b)
        }""",
        wq=(6, 6),
        wk=(6, 6),
        wv=(6, 6),
        g=(6,),
        b=(6,),
    )


def recurrent() -> ModelProto:
    """An LSTM that goes both ways, and what comes out at its end."""
    return model(
        """g (float[L, N, 3] x) => (float[L, 2, N, 4] y, float[N, 2] z) {
            y, h, c = LSTM<hidden_size = 4, direction = "bidirectional">(x, w, r, b)
            t = Transpose<perm = [1, 0, 2]>(h)
            f = Flatten(t)
            z = Gemm(f, m)
        }""",
        w=(2, 16, 3),
        r=(2, 16, 4),
        b=(2, 32),
        m=(8, 2),
    )


def segmentation() -> ModelProto:
    """Down and up again, with a skip."""
    return model(
        """g (float[N, 2, H, W] x) => (float[N, 2, H, W] y) {
            pads = Constant<value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}>()
            p = Pad<mode = "reflect">(x, pads)
            c = Conv(p, w1)
            low = Constant<value = float {0.0}>()
            high = Constant<value = float {6.0}>()
            r = Clip(c, low, high)
            d = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(r)
            u = ConvTranspose<strides = [2, 2]>(d, w2)
            j = Concat<axis = 1>(u, r)
            l, m = Split<axis = 1>(j)
            k = LeakyRelu<alpha = 0.1>(l)
            i = InstanceNormalization(m, s, b)
            a = Add(k, i)
            n = ReduceMean<keepdims = 1, axes = [2, 3]>(a)
            o = Sub(a, n)
            y = Conv(o, w3)
        }""",
        w1=(4, 2, 3, 3),
        w2=(4, 4, 2, 2),
        s=(4,),
        b=(4,),
        w3=(2, 4, 1, 1),
    )


def branching() -> ModelProto:
    """An If whose condition is constant, as exporters write squeeze()."""
    return model(
        """g (float[N, 1, 5] x) => (float[N, 5] y) {
            s = Shape(x)
            one = Constant<value = int64 {1}>()
            size = Gather<axis = 0>(s, one)
            c = Equal(size, one)
            axes = Constant<value = int64[1] {1}>()
            r = If(c) <
                then_branch = t () => (float[N, 5] u) { u = Squeeze(x, axes) },
                else_branch = e () => (float[N, 1, 5] o) { o = Identity(x) }
            >
            y = Tanh(r)
        }"""
    )


def with_function() -> ModelProto:
    """A model with a function of its own, which is called twice."""
    return onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[N, 4] x) => (float[N, 4] y) {
            h = own.twice(x)
            y = own.twice(h)
        }
        <opset_import: ["" : 17], domain: "own">
        twice (a) => (b) { c = Add(a, a)  b = Relu(c) }"""
    )


MODELS = {
    function.__name__: function
    for function in (cnn, shapes, attention, recurrent, segmentation, branching, with_function)
}


def node(operator: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: object) -> onnx.NodeProto:
    """A node, with "" for an input that is left out."""
    return helper.make_node(operator, inputs, outputs, **attributes)


def chain(
    nodes: list[onnx.NodeProto], inputs: list[str], outputs: list[str], opset: int = 17, domains: str = ""
) -> ModelProto:
    """A model of these nodes; all inputs and outputs are (N, 4)."""

    def values(names: list[str]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", 4)) for name in names]

    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(each, 1) for each in domains.split())]
    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def written(proto: ModelProto, folder: Path) -> Path:
    """The path of a file that holds the model."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def outputs_of(network: Network, *inputs: Tensor) -> list[Tensor]:
    """What the network gives."""
    found = network(*inputs)
    return list(found) if isinstance(found, tuple) else [found]


def expected_of(path: Path, *inputs: Tensor) -> list[Tensor]:
    """What onnxruntime gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {each.name: x.numpy() for each, x in zip(session.get_inputs(), inputs, strict=False)}
    return [torch.from_numpy(np.array(y)) for y in session.run(None, given)]


def error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest value."""
    assert [y.shape for y in found] == [y.shape for y in expected]
    assert [y.dtype for y in found] == [y.dtype for y in expected]
    pairs = zip(found, expected, strict=True)
    return max(float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-9)) for a, b in pairs)


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed numbers, the same each time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
