"""to_onnx: every block and whole networks, run by onnxruntime; free axes, names, metadata; what is refused."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from blockprop import blocks, from_torch, to_onnx
from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, FormatError, SettingError, ShapeError, UnsupportedError
from blockprop.exporters.onnx import model as onnx_model
from blockprop.exporters.onnx_operators.table import HANDLERS, REASONS, exports
from blockprop.interop.opaque import Opaque
from blockprop.networks.architectures import googlenet, resnet20_cifar10, squeezenet1_1, vgg19
from blockprop.networks.build import build_network
from tests.architectures import ARCHITECTURES, resized
from tests.blocks.test_blocks import made
from tests.cases import CASES, Case
from tests.random_networks import random_network

CLOSE = 1e-5
"""Errors relative to the largest number that goes in or comes out: float32 has seven digits."""
OPSETS = range(17, 22)
REFUSED = {
    "LSTM, projection": "ONNX' LSTM has no projection",
    "LSTM, projection, all directions": "ONNX' LSTM has no projection",
}
"""Rows whose block has no ONNX form at any opset."""
REFUSED_BEFORE = {
    18: ("Logic('and'), integers", "Logic('or'), integers", "Logic('xor'), integers", "Logic('not') of integers"),
    20: tuple(str(case) for case in CASES if str(case).startswith("GridSample") and str(case).endswith("3 axes")),
}
"""Rows that need this opset: bits, and grids for volumes."""

WRITTEN = """
Abs AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Add
Affine AffineGrid ArgMax ArgMin Attention AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d Blur
CELU Cast ChannelOrder Clamp ColorMix Compare Concat Constant Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d
ConvTranspose3d CumSum Detach Diagonal Div Dropout ELU Einsum Embedding Exp Expand Filled Flatten Flip Fold Function
GELU GRU Gather GatherElements GatherND GlobalAvgPool GlobalMaxPool GridSample GroupNorm HardSigmoid HardSwish
InstanceNorm LSTM LayerNorm LeakyReLU Linear LocalResponseNorm Log LogSoftmax LogSumExp Logic LpNorm LpPool1d
LpPool2d LpPool3d MatMul Max MaxOver MaxPool1d MaxPool2d MaxPool3d Mean MeanVarianceNorm Min MinOver Mul Norm OneHot
PReLU Pad Parameter PixelShuffle PixelUnshuffle Pow Power Product RMSNorm RNN Range ReLU Remainder Repeat
RepeatInterleave Resample Reshape Resize RoiAlign Roll SELU ScatterElements ScatterND Select Shrink SiLU Sigmoid
Slice Softmax Softplus Sort Spectrum Split Sqrt Squeeze Sub Sum Tanh ThresholdedReLU TopK Transpose Triangle Unfold
Unsqueeze Variance Where
"""
"""Blocks that have a handler, for good. A new block needs none."""


def export(network: Network, folder: Path, *inputs: Tensor, opset: int = 18, **more: Any) -> ModelProto:
    """The model that is written, checked by onnx."""
    path = folder / "net.onnx"
    to_onnx(
        network, path, opset, **({"shape": dict(zip(network.inputs, inputs, strict=True))} if inputs else {}), **more
    )
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path)


def run(model: ModelProto | Path, *inputs: Tensor) -> list[Tensor]:
    """The outputs that onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    given = model.SerializeToString() if isinstance(model, ModelProto) else str(model)
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return [
        torch.from_numpy(np.array(y))
        for y in session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    ]


def compare(network: Network, found: Sequence[Tensor], *inputs: Tensor, tolerance: float = CLOSE) -> None:
    """The same values, shapes and types of number as the network gives."""
    expected = network(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        finite = [x.double()[x.isfinite()].abs().max().item() for x in (*inputs, theirs) if x.isfinite().any()]
        scale = tolerance * max(finite, default=1.0)
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=scale, equal_nan=True)


def same(network: Network, folder: Path, *inputs: Tensor, opset: int = 18, tolerance: float = CLOSE) -> ModelProto:
    """Export with these inputs as examples, run, compare; the model."""
    model = export(network, folder, *inputs, opset=opset)
    compare(network, run(model, *inputs), *inputs, tolerance=tolerance)
    return model


def with_statistics(network: Network, seed: int = 0) -> Network:
    """The network with nothing left at its start, so that exchanged weights would be seen."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state.values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator).to(tensor.dtype))
    return network


def names_of_axes(value: Any) -> list[Any]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


# Every block ----------------------------------------------------------------------------------------------------------


def test_what_could_be_written_can_still_be_written() -> None:
    assert set(WRITTEN.split()) <= {kind.__name__ for kind in HANDLERS}
    assert set(BLOCKS.values()).issuperset({*HANDLERS, *REASONS})
    assert not set(HANDLERS) & set(REASONS)
    assert {kind.__name__ for kind in REASONS} >= {"Jitter", "Noise", "RandomAffine", "RandomCrop"}


def test_a_shipped_block_may_have_no_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(HANDLERS, blocks.Tanh)
    with pytest.raises(
        UnsupportedError, match=r"1 node cannot be written as ONNX \(Tanh\):\n  tanh1: Tanh\(\): no ONNX form"
    ):
        export(Sequential(blocks.ReLU(), blocks.Tanh()), tmp_path, torch.randn(2, 3))
    with pytest.raises(UnsupportedError, match=r"noise1: Noise.*: it draws at random each time"):
        export(Sequential(blocks.Noise(0.1)), tmp_path, torch.randn(2, 3))


def refused(case: Case, opset: int) -> bool:
    if type(case.make()) not in HANDLERS:
        return True
    return str(case) in REFUSED or any(opset < first and str(case) in rows for first, rows in REFUSED_BEFORE.items())


def test_the_refused_rows_exist() -> None:
    titles = {str(case) for case in CASES}
    assert titles.issuperset([*REFUSED, *(row for rows in REFUSED_BEFORE.values() for row in rows)])


def network_of(case: Case) -> tuple[Network, tuple[Tensor, ...]]:
    """The row's block alone, with the batch free if it has one."""
    block, inputs = made(case, torch.float32), case.tensors(torch.float32)
    names = [f"in{i}" for i in range(len(inputs))]
    free = {name: [case.batch] for name in names} if case.batch is not None else {}
    return Network([Node("node", block, names)], names, meta={"free": free}), inputs


@pytest.mark.parametrize(
    "opset", [pytest.param(17, marks=pytest.mark.slow), 18, pytest.param(21, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnxruntime_computes_what_the_block_does(case: Case, opset: int, tmp_path: Path) -> None:
    network, inputs = network_of(case)
    if refused(case, opset):
        with pytest.raises(UnsupportedError):
            export(network, tmp_path, *inputs, opset=opset)
        return
    model = same(network, tmp_path, *inputs, opset=opset)
    if case.batch is not None:  # a batch of another size
        fewer = tuple(x.narrow(case.batch, 0, 1) for x in inputs)
        compare(network, run(model, *fewer), *fewer)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [19, 20])
def test_the_opsets_between_write_the_same(opset: int, tmp_path: Path) -> None:
    for case in CASES[::7]:
        if not refused(case, opset):
            network, inputs = network_of(case)
            same(network, tmp_path, *inputs, opset=opset)


# Whole networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet", "cnn", "mlp:16,8"])
def test_networks_for_training(name: str, tmp_path: Path) -> None:
    network = with_statistics(build_network(name, (1, 28, 28), 10, seed=1))
    same(network, tmp_path, torch.randn(3, 1, 28, 28))


@pytest.mark.parametrize("opset", OPSETS)
def test_random_networks(opset: int, tmp_path: Path) -> None:
    for seed in range(8):
        same(with_statistics(random_network(seed)), tmp_path, torch.randn(3, 4, 8, 8), opset=opset)


@pytest.mark.parametrize("make", [squeezenet1_1, googlenet, vgg19, resnet20_cifar10])
def test_networks_by_name_with_free_height_and_width(make: Any, tmp_path: Path) -> None:
    until = {"until": "conv4_1"} if make is vgg19 else {}
    network = with_statistics(make(**until))
    size = 32 if make is resnet20_cifar10 else 96
    to_onnx(network, tmp_path / "net.onnx", shape=(3, size, size))
    model = onnx.load(tmp_path / "net.onnx")
    assert names_of_axes(model.graph.input[0]) == ["batch", 3, "height", "width"]
    for shape in ((2, 3, size, size), (1, 3, size + 16, size + 8)):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        compare(network, run(tmp_path / "net.onnx", x), x, tolerance=1e-4)


MODULES = ("resnet18", "mobilenet_v3_small", "vit_sdpa", "gpt", "lstm", "unet_bilinear")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("opset", [17, 21])
def test_imported_torch_modules(name: str, opset: int, tmp_path: Path) -> None:
    architecture = ARCHITECTURES[name]
    inputs = architecture.inputs(torch.Generator().manual_seed(1))
    network = from_torch(architecture.make(), inputs)
    model = same(network, tmp_path, *inputs, opset=opset, tolerance=1e-4)
    other = resized(architecture, inputs, {"batch": 3})
    compare(network, run(model, *other), *other, tolerance=1e-4)
    free = {names_of_axes(model.graph.input[0])[axis] for axis in network.meta["free"][network.inputs[0]]}
    assert all(isinstance(each, str) for each in free)


def test_a_network_that_reads_numbers_of_words_takes_integers_of_any_length(tmp_path: Path) -> None:
    architecture = ARCHITECTURES["gpt"]
    inputs = architecture.inputs(torch.Generator().manual_seed(1))
    network = from_torch(architecture.make(), inputs)
    model = export(network, tmp_path)
    (words,) = model.graph.input
    assert words.type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert names_of_axes(words) == ["batch", f"{network.inputs[0]}_1"]
    for sizes in ({"length": 5}, {"length": 9, "batch": 1}):
        other = resized(architecture, inputs, sizes)
        compare(network, run(model, *other), *other, tolerance=1e-4)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    nodes = [
        Node("sum", blocks.Add(), ("a", "b")),
        Node("parts", blocks.Split((1, 2), 1), ("sum",)),
        Node("index", blocks.ArgMax(1), ("sum",)),
        Node("where", blocks.Where(), ("mask", "a", "b")),
    ]
    outputs = ("parts[1]", "sum", "index", "where", "parts[0]")
    network = Network(nodes, ("a", "b", "mask"), outputs)
    to_onnx(network, tmp_path / "net.onnx", shape={"b": (3,), "a": (3,), "mask": (3,)})
    model = onnx.load(tmp_path / "net.onnx")
    assert [each.name for each in model.graph.input] == ["a", "b", "mask"]
    assert [each.name for each in model.graph.output] == list(outputs)
    assert [each.type.tensor_type.elem_type for each in model.graph.input][2] == onnx.TensorProto.BOOL
    inputs = torch.randn(4, 3), torch.randn(4, 3), torch.rand(4, 3) < 0.5
    compare(network, run(model, *inputs), *inputs)


def test_a_shared_block_has_one_weight(tmp_path: Path) -> None:
    shared = blocks.Linear(3, 3)
    network = Sequential({"first": shared, "relu": blocks.ReLU(), "second": shared})
    model = same(network, tmp_path, torch.randn(2, 3))
    assert sorted(each.name for each in model.graph.initializer) == ["first.bias", "first.weight"]
    assert [list(node.input)[1:] for node in model.graph.node if node.op_type == "Gemm"] == [
        ["first.weight", "first.bias"]
    ] * 2


def test_parameters_and_constants_stand_in_the_file(tmp_path: Path) -> None:
    nodes = [
        Node("position", blocks.Parameter((3,)), ()),
        Node("mask", blocks.Constant((3,)), ()),
        Node("sum", blocks.Add(), ("x", "position", "mask")),
    ]
    network = with_statistics(Network(nodes, outputs=("sum", "position", "mask")))
    model = same(network, tmp_path, torch.randn(2, 3))
    assert [each.name for each in model.graph.initializer] == ["position.value"]


def test_a_parameter_that_is_no_output_is_the_node_itself(tmp_path: Path) -> None:
    shared = blocks.Parameter((3,))
    nodes = [Node("position", shared, ()), Node("again", shared, ()), Node("sum", blocks.Add(), ("x", "position"))]
    network = with_statistics(Network([*nodes, Node("y", blocks.Mul(), ("sum", "again"))]))
    model = same(network, tmp_path, torch.randn(2, 3))
    assert [each.name for each in model.graph.initializer] == ["position"]


def test_an_input_that_is_an_output_and_one_output_twice(tmp_path: Path) -> None:
    network = Network([Node("double", blocks.Affine(2.0), ("x",))], outputs=("x", "double", "double"))
    model = same(network, tmp_path, torch.randn(2, 3))
    assert [each.name for each in model.graph.output] == ["x#2", "double", "double#2"]


def test_names_that_weights_and_nodes_share(tmp_path: Path) -> None:
    names = {"fc": blocks.Linear(3, 3), "fc.weights": blocks.ReLU(), "number_2.0_float32": blocks.Affine(2.0)}
    same(Sequential(names, {"row_1": blocks.Affine(2.0), "fc/Gemm": blocks.Mean(1)}), tmp_path, torch.randn(2, 3))


# Precision ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_precision_of_the_network_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    network = with_statistics(Sequential(blocks.Linear(6, 5), blocks.Tanh(), blocks.LayerNorm(5), blocks.Linear(5, 2)))
    network.to(dtype=dtype)
    x = torch.randn(3, 6, dtype=dtype)
    model = export(network, tmp_path, x)
    kinds = {each.data_type for each in model.graph.initializer if each.data_type != onnx.TensorProto.INT64}
    assert kinds == {{torch.float64: onnx.TensorProto.DOUBLE, torch.float16: onnx.TensorProto.FLOAT16}[dtype]}
    compare(network, run(model, x), x, tolerance={torch.float64: 1e-12, torch.float16: 1e-2}[dtype])


def test_float64_convolutions_by_the_reference(tmp_path: Path) -> None:
    network = with_statistics(random_network(3)).to(dtype=torch.float64)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    model = export(network, tmp_path, x)
    found = [torch.from_numpy(np.array(y)) for y in ReferenceEvaluator(model).run(None, {"x": x.numpy()})]
    compare(network, found, x, tolerance=1e-6)  # whose error function has no more digits


def test_a_bfloat16_network_can_be_written(tmp_path: Path) -> None:
    network = Sequential(blocks.Linear(3, 2)).to(dtype=torch.bfloat16)
    model = export(network, tmp_path, shape=(3,))
    assert {each.data_type for each in model.graph.initializer} == {onnx.TensorProto.BFLOAT16}


# Sizes ----------------------------------------------------------------------------------------------------------------


def test_without_meta_the_batch_is_free(tmp_path: Path) -> None:
    model = export(Sequential(blocks.Conv2d(3, 2, 3), blocks.Flatten()), tmp_path, shape=(3, 6, 5))
    assert names_of_axes(model.graph.input[0]) == ["batch", 3, 6, 5]
    assert names_of_axes(model.graph.output[0]) == ["batch", 24]


def test_the_shape_in_meta_is_used(tmp_path: Path) -> None:
    network = Network([Node("y", blocks.Softmax(-1), ("x",))], meta={"shape": [4, 5], "free": {"x": [0, 2]}})
    model = export(network, tmp_path)
    assert names_of_axes(model.graph.input[0]) == ["batch", 4, "x_2"]
    assert names_of_axes(model.graph.output[0]) == ["batch", 4, "x_2"]


def test_formulas_of_sizes_stay_formulas(tmp_path: Path) -> None:
    nodes = [
        Node("rows", blocks.Reshape(("a0*a1", "-(-a2//2)*2"), 0), ("x",)),
        Node("range", blocks.Range("a0%3", "a0*a1-1", 2, "float32"), ("x",)),
        Node("part", blocks.Slice(1, "-a2+1", "a1-2"), ("x",)),
        Node("half", blocks.Range(0, "-(-a1//2)"), ("x",)),
        Node("pillar", blocks.Slice(1, 0, 1), ("x",)),
        Node("grown", blocks.Expand((2, "a0", "b1+1", -1)), ("pillar", "x")),
    ]
    network = Network(nodes, outputs=[node.name for node in nodes], meta={"free": {"x": [0, 1]}})
    model = export(network, tmp_path, shape=(5, 4))
    for shape in ((1, 5, 4), (4, 3, 4), (7, 8, 4)):
        x = torch.randn(shape)
        compare(network, run(model, x), x)


def test_a_size_in_two_roles_is_not_taken_for_fixed(tmp_path: Path) -> None:
    """Sizes that the second trial happens to change in like ways: h / w, or h modulo 2."""
    network = Network(
        [Node("y", blocks.Range(0, "a2//a3+a2%2"), ("x",))], meta={"free": {"x": [2, 3]}, "shape": [1, 8, 8]}
    )
    model = export(network, tmp_path)
    for h, w in ((8, 8), (9, 4), (24, 5)):
        x = torch.zeros(1, 1, h, w)
        compare(network, run(model, x), x)


def test_a_length_with_a_maximum_stays_free(tmp_path: Path) -> None:
    nodes = [Node("places", blocks.Range(0, "a1"), ("x",)), Node("y", blocks.Embedding(10, 3), ("places",))]
    nodes += [Node("cut", blocks.Slice(0, 0, "b1"), ("y", "x"))]
    network = Network([*nodes, Node("sum", blocks.Add(), ("cut", "wide")), Node("wide", blocks.Unsqueeze(-1), ("x",))])
    network.meta |= {"free": {"x": [0, 1]}, "shape": [8]}
    model = export(network, tmp_path)
    assert names_of_axes(model.graph.input[0]) == ["batch", "x_1"]
    x = torch.randn(2, 6)
    compare(network, run(model, x), x)


def test_two_pictures_of_different_sizes_have_different_names(tmp_path: Path) -> None:
    nodes = [Node("f", blocks.Mean((2, 3)), ("a",)), Node("g", blocks.Mean((2, 3)), ("b",))]
    network = Network([*nodes, Node("y", blocks.Add(), ("f", "g"))], ("a", "b"))
    network.meta["free"] = {"a": [0, 2, 3], "b": [0, 2, 3]}
    model = export(network, tmp_path, shape=[(3, 8, 8), (3, 6, 8)])
    assert [names_of_axes(each) for each in model.graph.input] == [
        ["batch", 3, "height", "width"],
        ["batch", 3, "b_height", "width"],
    ]


def test_ceil_mode_and_adaptive_windows_with_free_sizes(tmp_path: Path) -> None:
    network = Sequential(
        blocks.MaxPool2d(3, 2, ceil_mode=True),
        blocks.AvgPool2d(3, 2, 1, ceil_mode=True),
        blocks.Roll((3, -50), (2, 3)),
        blocks.RepeatInterleave(2, 3),
        blocks.Resize(scale=(2, 3), mode="bilinear"),
        blocks.PixelUnshuffle(2),
        blocks.AdaptiveAvgPool2d((1, 1)),
    )
    network.meta |= {"free": {"x": [0, 2, 3]}, "shape": [2, 32, 32]}
    model = export(network, tmp_path)
    for shape in ((1, 2, 32, 32), (2, 2, 21, 18), (3, 2, 40, 27)):
        x = torch.rand(shape)
        compare(network, run(model, x), x)


def test_a_shape_that_is_not_known(tmp_path: Path) -> None:
    for network, expected in (
        (Sequential(blocks.Linear(3, 2)), r"what shape 'x' has: pass .* such as shape=\(3, 224, 224\)"),
        (Network([Node("y", blocks.Add(), ("a", "b"))], ("a", "b")), "'a' and 'b' has: pass"),
        (Network([Node("y", blocks.Add(), ("a", "b"))], ("a", "b"), meta={"shape": [3]}), "what shape 'b' has: pass"),
    ):
        with pytest.raises(SettingError, match=expected):
            to_onnx(network, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "opset", "error", "expected"),
    [
        ((4,), 18, ShapeError, "node 'linear1': expected rows of 3 numbers"),
        ((0,), 18, SettingError, "sizes of at least 1 for 'x'"),
        ({"z": (3,)}, 18, SettingError, "no input 'z'"),
        ((3,), 16, SettingError, "opset must be in 17…21, came 16"),
        ((3,), 22, SettingError, "opset must be in 17…21"),
    ],
)
def test_what_does_not_fit(shape: Any, opset: int, error: type, expected: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=expected):
        to_onnx(Sequential(blocks.Linear(3, 2)), tmp_path / "net.onnx", opset, shape)
    assert list(tmp_path.iterdir()) == []


# What is refused ------------------------------------------------------------------------------------------------------


class Own(Block):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x * 2, None


class Negated(Block):
    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return -x, None


def test_all_that_has_no_form_is_listed_at_once(tmp_path: Path) -> None:
    names = {
        "a": Own(),
        "relu": blocks.ReLU(),
        "b": Own(),
        "c": Opaque("aten.sinc.default", ({"input": 0},)),
        "d": blocks.LSTM(3, 3, projection=2),
        "last": blocks.Select(0, 0),
    }
    nodes = [Node("a", names["a"], ("x",)), Node("relu", names["relu"], ("a",)), Node("b", names["b"], ("relu",))]
    nodes += [Node("c", names["c"], ("b",)), Node("d", names["d"], ("c",))]
    (tmp_path / "net.onnx").write_text("older")
    with pytest.raises(UnsupportedError) as caught:
        to_onnx(Network(nodes, outputs=("d[0]",)), tmp_path / "net.onnx", shape=(4, 3))
    text = str(caught.value)
    assert text.splitlines()[0] == "4 nodes cannot be written as ONNX (LSTM, Opaque, Own):"
    for line in ("  a: Own(): no ONNX form", "  b: Own(): no ONNX form", "  d: LSTM(3, 3, projection=2): ONNX' LSTM"):
        assert line in text
    assert "@exports(TheBlock)" in text
    assert "relu" not in text
    assert (tmp_path / "net.onnx").read_text() == "older"


def test_a_block_of_ones_own_can_be_entered(tmp_path: Path) -> None:
    @exports(Negated)
    def negated(call: Any, block: Negated, x: str) -> Any:
        assert call.block is block
        return call.add("Neg", x)

    try:
        model = same(Sequential(Negated()), tmp_path, torch.randn(2, 3))
        assert [(node.op_type, node.name) for node in model.graph.node] == [("Neg", "negated1")]
    finally:
        del HANDLERS[Negated]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (blocks.AdaptiveAvgPool2d((2, 1)), "an output size of 2 hangs on the free size of axis 2"),
        (blocks.AvgPool2d(2, 2, 1, ceil_mode=True), "ceil_mode with these windows hangs on the free size"),
        (blocks.Diagonal(), "the diagonal hangs on the free size"),
        (blocks.Resample(scales=1.3, mode="linear", coordinates="align_corners"), "hangs on the free size"),
    ],
)
def test_what_needs_sizes_that_are_free(block: Block, expected: str, tmp_path: Path) -> None:
    network = Network([Node("y", block, ("x",))], meta={"free": {"x": [0, 2, 3]}, "shape": [2, 7, 8]})
    with pytest.raises(UnsupportedError, match=expected):
        to_onnx(network, tmp_path / "net.onnx")
    network.meta["free"] = {"x": [0]}
    same(network, tmp_path, torch.rand(2, 2, 7, 8))


# The file -------------------------------------------------------------------------------------------------------------


def test_what_the_file_says_of_itself(tmp_path: Path) -> None:
    meta = {"classes": ["cat", "dog"], "shape": [3], "free": {"x": [0]}, "low": float("-inf")}
    network = Sequential({"fc": blocks.Linear(3, 2), "out": blocks.Softmax()})
    network.meta |= meta
    model = export(network, tmp_path, opset=20)
    assert (model.producer_name, model.opset_import[0].version) == ("blockprop", 20)
    assert json.loads(model.metadata_props[0].value)["classes"] == ["cat", "dog"]
    assert model.metadata_props[0].key == "blockprop"
    assert [node.name for node in model.graph.node] == ["fc", "out"]
    assert {each.name for each in model.graph.initializer} == set(network.parameters)


def test_large_weights_stand_in_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model, "LARGEST", 1000)
    network = with_statistics(Sequential(blocks.Linear(64, 64), blocks.Linear(64, 3)))
    path = tmp_path / "net.onnx"
    to_onnx(network, path, shape=(64,))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < 5000
    onnx.checker.check_model(str(path), full_check=True)
    x = torch.randn(2, 64)
    compare(network, run(path, x), x)


def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential(blocks.Linear(3, 3))
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(FormatError, match="not an ordinary file"):
        to_onnx(network, tmp_path / "folder.onnx", shape=(3,))
    (tmp_path / "net.onnx").write_text("older")

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(onnx_model, "put_bytes", fail)
    with pytest.raises(BlockpropError, match="the disk is full"):
        to_onnx(network, tmp_path / "net.onnx", shape=(3,))
    assert (tmp_path / "net.onnx").read_text() == "older"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.onnx", "net.onnx"]


def test_the_network_is_not_changed(tmp_path: Path) -> None:
    network = with_statistics(build_network("cnn", (1, 12, 12), 3, seed=0))
    before: Mapping[str, Tensor] = {name: tensor.clone() for name, tensor in network.state.items()}
    pointers = {name: tensor.data_ptr() for name, tensor in network.state.items()}
    export(network, tmp_path, shape=(1, 12, 12))
    for name, tensor in network.state.items():
        assert tensor.data_ptr() == pointers[name]
        assert torch.equal(tensor, before[name])
