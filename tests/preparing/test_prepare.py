"""Prepared networks give the same values and the same errors at their input as those that they are made of."""

from collections.abc import Sequence

import pytest
import torch

from blockprop.blocks import (
    Add,
    BatchNorm2d,
    Clamp,
    Conv2d,
    MaxPool2d,
    Pad,
    ReLU,
)
from blockprop.engine.check import check_network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.preparing import layout
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.prepare import Prepared
from blockprop.preparing.rewrites import REWRITES
from blockprop.preparing.rows import narrowed
from blockprop.rules.named import guided
from tests.conftest import DataFile
from tests.preparing.graphs import alone, fork, residual, same


@pytest.mark.parametrize(
    "convolution",
    [
        Conv2d(3, 5, 3),
        Conv2d(3, 5, 3, padding=1),
        Conv2d(3, 5, 1),
        Conv2d(3, 5, 1, padding=1),
        Conv2d(3, 5, (1, 3), padding=(0, 1)),
        Conv2d(3, 5, 5, padding=2, with_bias=False),
        Conv2d(3, 5, 3, stride=2),
        Conv2d(3, 5, 2, stride=3, padding=1),
        Conv2d(3, 5, 1, stride=2),
        Conv2d(3, 5, 3, padding=2, dilation=2),
        Conv2d(3, 5, 3, padding=4),
        Conv2d(3, 6, 3, padding=1, groups=3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("reflected", [False, True])
def test_convolutions(convolution: Conv2d, rectified: bool, reflected: bool) -> None:
    before = {"pad": Pad((1, 1, 1, 1), mode="reflect")} if reflected else {}
    after = {"relu": ReLU()} if rectified else {}
    network = alone(convolution, before, after)
    x, weight = torch.randn(2, 3, 9, 12, dtype=torch.float64), convolution.weight.clone()
    lean = same(network, network.outputs, x)
    assert [type(node.block) for node in lean.nodes] == [FixedConv2d]
    assert torch.equal(convolution.weight, weight)


@pytest.mark.parametrize(
    "pool", [MaxPool2d(2), MaxPool2d(3, 2, ceil_mode=True), MaxPool2d(3, 1, 1), MaxPool2d(2, dilation=2)], ids=repr
)
def test_pooling(pool: MaxPool2d) -> None:
    x = torch.randint(0, 4, (2, 3, 9, 12)).double()  # with ties
    same(alone(pool), ("block",), x)


@pytest.mark.parametrize(
    ("keep", "names"),
    [
        (("norm",), ["conv1", "relu1", "relu2", "both", "relu3", "norm"]),
        (("conv3", "norm"), ["conv1", "relu1", "relu2", "both", "conv3", "relu3", "norm"]),
        (("relu2", "pad3", "norm"), ["conv1", "relu1", "relu2", "both", "pad3", "relu3", "norm"]),
    ],
    ids=str,
)
def test_what_is_read_elsewhere_stays(keep: tuple[str, ...], names: list[str]) -> None:
    lean = same(fork(), keep, torch.randn(1, 3, 8, 9, dtype=torch.float64))
    assert [node.name for node in lean.nodes] == names


@pytest.mark.parametrize(
    ("name", "file", "keep"),
    [
        ("squeezenet1_1", "squeezenet1_1", ("relu_conv1", "fire3", "fire9")),
        ("googlenet", "googlenet_bvlc", ("relu_conv2_3x3", "inception_3b", "inception_4a_3x3", "inception_4d")),
        ("vgg19", "vgg19_distilled16x_conv5_1", ("relu1_1", "relu3_1", "relu4_2", "relu5_1")),
    ],
)
def test_published_networks(name: str, file: str, keep: tuple[str, ...], data_file: DataFile) -> None:
    path = data_file(f"weights/{file}.safetensors")
    network = with_preprocessing(pretrained(name, path)).to(dtype=torch.float64)
    same(network, keep, torch.rand(1, 3, 64, 80, dtype=torch.float64), 1e-9)


@pytest.mark.parametrize("without", [(), *((name,) for name in REWRITES)], ids=str)
def test_each_rewrite_can_be_left_out(without: tuple[str, ...]) -> None:
    network = residual()
    x = torch.randn(2, 3, 33, 30, dtype=torch.float64)
    lean = network.prepare(without=without)
    same(network, network.outputs, x, lean=lean)
    for name in REWRITES:
        assert (name in lean.report().split("switched off")[-1]) == (name in without) or not without
    counts = {name: network.prepare(without=[other for other in REWRITES if other != name]) for name in REWRITES}
    assert all(len(each.nodes) < len(network.nodes) for name, each in counts.items() if not name.startswith("narrow"))


def test_the_checker_proves_it() -> None:
    network = residual()
    lean = network.prepare()
    assert [type(node.block).__name__ for node in lean.nodes] == [
        "FixedConv2d",
        "FixedMaxPool2d",
        "FixedConv2d",
        "FixedConv2d",
        "FixedConv2d",
        "RectifiedSum",
        "FixedConv2d",
        "AdaptiveAvgPool2d",
        "Flatten",
    ]
    report = check_network(
        lean,
        torch.randn(2, 3, 17, 18, dtype=torch.float64),
        objective=mean_squared_error(),
        target=torch.zeros(2, 10),
        wrt="inputs",
    )
    assert report.passed


def test_the_checker_takes_a_prepared_network_of_any_type_of_number() -> None:
    network = residual().to(torch.float32)
    lean = network.prepare(keep=["flat"], rules=guided(network), without=["join_sums"])
    checked = lean.in_float64()
    assert isinstance(checked, Prepared)
    assert checked.draft.rewritten == lean.draft.rewritten
    assert (checked.without, checked.draft.untouched) == (lean.without, lean.draft.untouched) != ([], frozenset())
    assert {tensor.dtype for tensor in checked.origin.parameters.values()} == {torch.float64}
    report = check_network(
        lean, torch.randn(2, 3, 17, 18), objective=mean_squared_error(), target=torch.zeros(2, 10), wrt="inputs"
    )
    assert report.passed


def test_rules_find_what_they_touch() -> None:
    network = residual()
    x = torch.randn(2, 3, 33, 30, dtype=torch.float64)
    rules = guided(network)
    lean = network.prepare(rules=rules)
    assert {type(node.block) for node in lean.nodes} >= {ReLU, Clamp, Add}
    assert "kept as they are, with rules: relu1, clamp2" in lean.report()
    seeds = torch.rand(2, 10, dtype=torch.float64)
    d = [each.backward(each.forward(x), seeds, "inputs", rules)["x"] for each in (network, lean)]
    torch.testing.assert_close(d[1], d[0])


def test_one_channel_needs_one_row() -> None:
    network = residual()
    x = torch.randn(2, 3, 33, 30, dtype=torch.float64)
    lean = narrowed(network.prepare(), {"flat": (7, 2)})
    (row,) = [node.block for node in lean.nodes if isinstance(node.block, FixedConv2d) and node.block.rows]
    assert row.rows == (2, 7)
    y, whole = lean(x), network(x)
    torch.testing.assert_close(y[:, [2, 7]], whole[:, [2, 7]])
    assert bool(y[:, [0, 1, 3, 4, 5, 6, 8, 9]].isnan().all())
    seeds = torch.zeros(2, 10, dtype=torch.float64)
    seeds[0, 7], seeds[1, 2] = 1.5, -1
    d = [each.backward(each.forward(x, keep=["flat"]), seeds, "inputs")["x"] for each in (network, lean)]
    torch.testing.assert_close(d[1], d[0])


@pytest.mark.parametrize(("key", "rows"), [("flat", range(10)), ("flat", (10,)), ("flat", ()), ("x", (0,))], ids=str)
def test_where_rows_save_nothing_all_is_computed(key: str, rows: Sequence[int]) -> None:
    lean = residual().prepare()
    assert narrowed(lean, {key: rows}) is lean


def test_what_is_not_as_made_stays() -> None:
    network = residual()
    block = network.blocks["relu1"]
    block.propagate = lambda _saved, d: (d,)  # type: ignore[method-assign]
    lean = network.prepare()
    assert lean.blocks["relu1"] is block
    x = torch.randn(2, 3, 33, 30, dtype=torch.float64)
    same(network, network.outputs, x, lean=lean)


def test_errors_name_the_nodes_of_the_network() -> None:
    network = residual()
    lean = network.prepare()
    with pytest.raises(ShapeError, match="node 'conv1': expected"):
        lean(torch.zeros(1, 4, 33, 30, dtype=torch.float64))
    with pytest.raises(ShapeError, match="node 'conv1': expected at least 1 places"):
        lean(torch.zeros(1, 3, 0, 30, dtype=torch.float64))
    with pytest.raises(GraphError, match="computes as in evaluation"):
        lean.forward(torch.zeros(1, 3, 33, 30, dtype=torch.float64), training=True)
    trace = lean.forward(torch.zeros(1, 3, 33, 30, dtype=torch.float64))
    for wrt in ("parameters", ["conv1.weight"], "conv4.bias"):
        with pytest.raises(GraphError, match="has fixed weights"):
            lean.backward(trace, torch.zeros(1, 10, dtype=torch.float64), wrt=wrt)
    with pytest.raises(GraphError, match="no 'conv9'"):
        network.prepare(["conv9"])
    with pytest.raises(SettingError, match="no rewrite 'join_sum'"):
        network.prepare(without=["join_sum"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_types(dtype: torch.dtype) -> None:
    network = residual()
    x = torch.randn(2, 3, 33, 30, dtype=torch.float64)
    y = network(x)
    lean = network.to(dtype=dtype).prepare()
    error = float((lean(x.to(dtype)).double() - y).abs().max() / y.abs().max())
    assert error < {torch.float32: 1e-5, torch.bfloat16: 0.05, torch.float16: 0.01}[dtype]


@pytest.mark.parametrize("count", [0, 1])
def test_small_batches(count: int) -> None:
    network = residual()
    x = torch.randn(count, 3, 33, 30, dtype=torch.float64)
    lean = network.prepare()
    trace = lean.forward(x)
    torch.testing.assert_close(trace.output, network(x))
    d = lean.backward(trace, torch.ones(count, 10, dtype=torch.float64), "inputs")["x"]
    assert d.shape == x.shape


@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e20), (torch.float16, 1.0), (torch.bfloat16, 1.0)])
def test_a_normalization_stays_where_the_product_of_the_weights_would_lose_digits(
    dtype: torch.dtype, scale: float
) -> None:
    network = Sequential(Conv2d(3, 4, 1), BatchNorm2d(4, epsilon=1e-40)).to(dtype=dtype)
    network.parameters["conv2d1.weight"].fill_(scale)
    network.parameters["batchnorm2d1.weight"].fill_(scale)
    lean = network.prepare(without=["join_regions"])
    assert [type(node.block) for node in lean.nodes] == [FixedConv2d, BatchNorm2d]


def test_a_file_may_not_ask_for_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential(Conv2d(3, 64, 1), MaxPool2d(2), Conv2d(64, 64, 3), ReLU()).bounded()
    lean = network.prepare()
    assert lean(torch.rand(1, 3, 64, 64)).shape == (1, 64, 30, 30)
    monkeypatch.setattr("blockprop.engine.room.free_memory", lambda _device: 2**28)
    for one in (lean, network.prepare(memory="1 MB")):
        with pytest.raises(ShapeError, match="half of what is there"):
            one(torch.rand(1, 1, 1, 1).expand(1, 3, 2048, 2048))
        with pytest.raises(ShapeError, match="half of what is there"):
            one.forward(torch.rand(1, 1, 1, 1).expand(1, 3, 2048, 2048))


@pytest.mark.parametrize("packed", [True, False])
def test_sizes_may_change_from_call_to_call(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_is_there", packed and layout._is_there)
    network = residual().to(dtype=torch.float32)
    lean = network.prepare()
    for size in ((33, 30), (64, 40), (33, 30), (17, 90)):
        for count in (1, 3):
            x = torch.rand(count, 3, *size)
            torch.testing.assert_close(lean(x), network(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["input", "bias"])
def test_what_is_not_finite_stays_so(value: float, place: str) -> None:
    network, x = residual().to(dtype=torch.float32), torch.rand(2, 3, 33, 30)
    (x[0, 0, 5, 5] if place == "input" else network.parameters["conv4.bias"][3]).fill_(value)
    torch.testing.assert_close(network.prepare()(x), network(x), rtol=1e-4, atol=1e-5, equal_nan=True)
