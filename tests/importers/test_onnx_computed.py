"""What other files keep as weights and this one computes: statistics, scales, kernels and slopes from nodes."""

from pathlib import Path

import pytest

from blockprop.importers import from_onnx
from tests.importers.onnx_models import error, expected_of, model, outputs_of, random, written
from tests.importers.onnx_oracles import verify_backward

Shapes = tuple[tuple[int, ...], ...]

PICTURE, ROWS = (2, 4, 5, 6), (2, 5, 4)
MODELS: dict[str, tuple[str, Shapes, dict[str, tuple[int, ...]]]] = {
    "statistics of the batch itself": (
        """g (float[N, 4, H, W] x) => (float[N, 4, H, W] y) {
            m = ReduceMean<axes = [0, 2, 3], keepdims = 0>(x)
            k = Constant<value = int64[4] {1, -1, 1, 1}>()
            column = Reshape(m, k)
            d = Sub(x, column)
            dd = Mul(d, d)
            v = ReduceMean<axes = [0, 2, 3], keepdims = 0>(dd)
            y = BatchNormalization<epsilon = 0.01>(x, scale, bias, m, v)
        }""",
        (PICTURE,),
        {"scale": (4,), "bias": (4,)},
    ),
    "a scale alone, the rest weights": (
        """g (float[N, 4] x, float[4] s) => (float[N, 4] y) {
            t = Tanh(s)
            mm = Mul(mean, mean)
            y = BatchNormalization(x, t, bias, mean, mm)
        }""",
        ((3, 4), (4,)),
        {"bias": (4,), "mean": (4,)},
    ),
    "adaptive instance normalization": (
        """g (float[1, 4, H, W] x, float[1, 4] style) => (float[1, 4, H, W] y) {
            a = Gemm(style, w)
            flat = Constant<value = int64[1] {-1}>()
            s = Reshape(a, flat)
            b = Tanh(s)
            y = InstanceNormalization(x, s, b)
        }""",
        ((1, 4, 5, 6), (1, 4)),
        {"w": (4, 4)},
    ),
    "a layer's scale and shift": (
        """g (float[N, L, 4] x, float[4] s) => (float[N, L, 4] y) {
            t = Tanh(s)
            y = LayerNormalization<axis = -1>(x, t, s)
        }""",
        (ROWS, (4,)),
        {},
    ),
    "a layer's scale without a shift": (
        "g (float[N, L, 4] x, float[4] s) => (float[N, L, 4] y) { t = Tanh(s)  y = LayerNormalization(x, t) }",
        (ROWS, (4,)),
        {},
    ),
    "a kernel": (
        """g (float[N, 4, H, W] x, float[6, 2, 3, 3] k) => (float[N, 6, H2, W2] y) {
            t = Tanh(k)
            y = Conv<group = 2, strides = [2, 1], pads = [1, 1, 1, 1]>(x, t, b)
        }""",
        (PICTURE, (6, 2, 3, 3)),
        {"b": (6,)},
    ),
    "a kernel of one picture over another": (
        "g (float[1, 4, H, W] x, float[1, 4, 3, 2] z) => (float[1, 1, H2, W2] y) { y = Conv(x, z) }",
        ((1, 4, 5, 6), (1, 4, 3, 2)),
        {},
    ),
    "a kernel with padding as needed": (
        """g (float[N, 4, H, W] x, float[6, 4, 3, 2] k) => (float[N, 6, H2, W2] y) {
            y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, k)
        }""",
        (PICTURE, (6, 4, 3, 2)),
        {},
    ),
    "a bias": (
        """g (float[N, 4, H, W] x, float[6] s) => (float[N, 6, H2, W2] y) { b = Tanh(s)  y = Conv(x, w, b) }""",
        (PICTURE, (6,)),
        {"w": (6, 4, 2, 2)},
    ),
    "a kernel along one axis": (
        "g (float[N, 4, L] x, float[6, 4, 3] k) => (float[N, 6, M] y) { y = Conv<dilations = [2]>(x, k) }",
        ((2, 4, 9), (6, 4, 3)),
        {},
    ),
    "a transposed kernel": (
        """g (float[N, 4, H, W] x, float[4, 3, 2, 2] k) => (float[N, 6, H2, W2] y) {
            t = Tanh(k)
            y = ConvTranspose<strides = [2, 2], group = 2, output_padding = [1, 0]>(x, t, b)
        }""",
        (PICTURE, (4, 3, 2, 2)),
        {"b": (6,)},
    ),
    "a slope": (
        "g (float[N, 4, H, W] x, float[4, 1, 1] s) => (float[N, 4, H, W] y) { t = Tanh(s)  y = PRelu(x, t) }",
        (PICTURE, (4, 1, 1)),
        {},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_computed_takes_the_place_of_a_weight(name: str, tmp_path: Path) -> None:
    text, shapes, weights = MODELS[name]
    path = written(model(text, **weights), tmp_path)
    network = from_onnx(path)
    inputs = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    assert error(outputs_of(network, *inputs), expected_of(path, *inputs)) < 1e-5
    verify_backward(network, dict(zip(network.inputs, inputs, strict=True)))


@pytest.mark.parametrize("operator", ["GroupNormalization", "RMSNormalization"])
def test_newer_normalizations(operator: str, tmp_path: Path) -> None:
    """onnxruntime lacks them; the same with the scale as a weight is the oracle, which the node tests have checked."""
    rest = "<num_groups = 2>(x, t, s)" if operator == "GroupNormalization" else "<axis = 1>(x, t)"
    text = f"g (float[N, 4] x, float[4] s) => (float[N, 4] y) {{ t = Tanh(s)  y = {operator}{rest} }}"
    path = written(model(text, opset=23), tmp_path)
    x, s = random(3, 4), random(4, seed=1)
    network = from_onnx(path)
    expected = outputs_of(from_onnx(path, constants={"s": s}), x)
    assert error(outputs_of(network, x, s), expected) < 1e-6
    verify_backward(network, {"x": x, "s": s})


def test_statistics_for_each_place(tmp_path: Path) -> None:
    """spatial = 0, which opset 7 has: one mean for each place. No onnxruntime computes it; this is its formula."""
    text = """g (float[N, 2, 3] x) => (float[N, 2, 3] y) {
        y = BatchNormalization<spatial = 0>(x, scale, bias, mean, variance)
    }"""
    values = {name: random(2, 3, seed=i).abs() for i, name in enumerate(("scale", "bias", "mean", "variance"))}
    proto = model(text, opset=7, **{name: value.numpy() for name, value in values.items()})
    network, x = from_onnx(written(proto, tmp_path)), random(4, 2, 3)
    expected = (x - values["mean"]) / (values["variance"] + 1e-5).sqrt() * values["scale"] + values["bias"]
    assert error(outputs_of(network, x), [expected]) < 1e-6
    assert list(network.parameters) == ["scale.value", "bias.value"]


def test_a_long_product_of_constants_stays_in_the_network(tmp_path: Path) -> None:
    text = "g (float[N, 3000] x) => (float[N, 3000] y) { p = MatMul(a, b)  y = MatMul(x, p) }"
    path = written(model(text, a=(3000, 3000), b=(3000, 3000)), tmp_path)
    assert [type(block).__name__ for block in from_onnx(path).unique_blocks.values()].count("MatMul") == 2


def test_a_short_product_of_constants_is_worked_out_at_import(tmp_path: Path) -> None:
    text = "g (float[N, 30] x) => (float[N, 30] y) { p = MatMul(a, b)  y = MatMul(x, p) }"
    network = from_onnx(written(model(text, a=(30, 30), b=(30, 30)), tmp_path))
    assert len(network.nodes) == 1
