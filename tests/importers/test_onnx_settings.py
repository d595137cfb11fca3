"""Settings of single operators beside onnxruntime, at several sizes; and recurrent layers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blockprop.errors import UnsupportedError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import error, expected_of, model, outputs_of, random, written

PICTURE = "g (float[N, 4, H, W] x) => (float[a, b, c, d] y) "
KERNEL = {"w": (2, 4, 3, 2)}
UPWARD = {"w": (4, 3, 3, 3), "b": (3,)}


def one(operator: str, settings: str = "", more: str = "", opset: int = 13, before: str = "", **weights: Any) -> Any:
    bracketed = f"<{settings}>" if settings else ""
    return model(f"{PICTURE} {{ {before} y = {operator}{bracketed}(x{more}) }}", opset, **weights)


def _settings() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for stride in ("1, 1", "3, 2", "2, 3", "3, 4"):
            same = f'auto_pad = "{auto}", strides = [{stride}]'
            found[f"Conv {same}"] = one("Conv", same, ", w", **KERNEL)
            gaps = stride in ("2, 3", "3, 4")  # onnxruntime's padding becomes negative there, and it stops
            for pool in ("MaxPool", "AveragePool", "LpPool") if not gaps else ():
                found[f"{pool} {same}"] = one(pool, f"kernel_shape = [3, 2], {same}")
        found[f"ConvTranspose {auto}"] = one(
            "ConvTranspose", f'auto_pad = "{auto}", strides = [2, 2]', ", w, b", **UPWARD
        )
    for pads in ("0, 1, 1, 0", "2, 0, 0, 1"):
        found[f"Conv {pads}"] = one("Conv", f"pads = [{pads}], dilations = [2, 1]", ", w", **KERNEL)
        uneven = f"pads = [{pads}], strides = [2, 2], output_padding = [1, 0]"
        found[f"ConvTranspose {pads}"] = one("ConvTranspose", uneven, ", w, b", **UPWARD)
        for pool in ("MaxPool", "AveragePool"):
            found[f"{pool} {pads}"] = one(pool, f"kernel_shape = [3, 2], pads = [{pads}], strides = [2, 1]")
        counted = f"kernel_shape = [3, 2], pads = [{pads}], count_include_pad = 1"
        found[f"AveragePool {counted}"] = one("AveragePool", counted)
    for opset, operator in ((7, "DepthToSpace"), (11, "DepthToSpace"), (13, "SpaceToDepth")):
        found[f"{operator} {opset}"] = one(operator, "blocksize = 2", opset=opset)
    found["GlobalLpPool"] = one("GlobalLpPool", "p = 3", opset=7)
    found["MeanVarianceNormalization"] = one("MeanVarianceNormalization", "axes = [1, 2, 3]", opset=9)
    return found | _resizing()


def _resizing() -> dict[str, Any]:
    found: dict[str, Any] = {}
    constant = "s = Constant<value = float[4] {{1.0, 1.0, {}}}>()"
    for mode in ("nearest", "linear"):
        setting = f'mode = "{mode}"'
        found[f"Upsample 7 {mode}"] = one("Upsample", f"{setting}, scales = [1.0, 1.0, 2.0, 3.0]", opset=7)
        for opset, operator in ((9, "Upsample"), (10, "Resize")):
            before = constant.format("2.0, 1.5")
            found[f"{operator} {opset} {mode}"] = one(operator, setting, ", s", opset, before)
        found[f"Resize 10 {mode} down"] = one("Resize", setting, ", s", 10, constant.format("0.5, 0.7"))
        for rule in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"):
            for scales in ("2.0, 1.5", "3.0, 3.0"):
                settings = f'{setting}, coordinate_transformation_mode = "{rule}"'
                before = f"r = Constant<value = float[0] {{}}>() {constant.format(scales)}"
                for opset in (11, 13, 18):
                    found[f"Resize {opset} {mode} {rule} {scales}"] = one("Resize", settings, ", r, s", opset, before)
    return found


SETTINGS = _settings()


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_at_several_sizes(name: str, tmp_path: Path) -> None:
    path = written(SETTINGS[name], tmp_path)
    network = from_onnx(path)
    assert network.meta["free"] == {"x": [0, 2, 3]}
    for shape in ((1, 4, 6, 8), (2, 4, 10, 6), (3, 4, 12, 12)):
        x = random(*shape)
        assert error(outputs_of(network, x), expected_of(path, x)) < 1e-5


FIXED = "g (float[1, 4, 6, 7] x) => (float[a, b, c, d] y) "
ROUNDED_UP = [
    (operator, pads, more)
    for operator, more in (("MaxPool", ""), ("AveragePool", ""), ("AveragePool", ", count_include_pad = 1"))
    for pads in ("0, 0, 0, 0", "1, 1, 1, 1", "0, 1, 1, 0", "0, 0, 1, 1")
]


@pytest.mark.parametrize(("operator", "pads", "more"), ROUNDED_UP)
def test_windows_rounded_up(operator: str, pads: str, more: str, tmp_path: Path) -> None:
    settings = f"kernel_shape = [3, 2], strides = [2, 3], ceil_mode = 1, pads = [{pads}]{more}"
    path, x = written(model(f"{FIXED} {{ y = {operator}<{settings}>(x) }}"), tmp_path), random(1, 4, 6, 7)
    assert error(outputs_of(from_onnx(path), x), expected_of(path, x)) < 1e-6


@pytest.mark.parametrize("auto", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("shape", ["12, 14", "11, 14", "13, 15"])
def test_transposed_convolution_to_a_given_shape(auto: str, shape: str, tmp_path: Path) -> None:
    settings = f'strides = [2, 2], output_shape = [{shape}], auto_pad = "{auto}"'
    path = written(model(f"{FIXED} {{ y = ConvTranspose<{settings}>(x, w, b) }}", 11, **UPWARD), tmp_path)
    x = random(1, 4, 6, 7)
    assert error(outputs_of(from_onnx(path), x), expected_of(path, x)) < 1e-5


@pytest.mark.parametrize("opset", [10, 16])
def test_regions_of_interest(opset: int, tmp_path: Path) -> None:
    text = """g (float[1, 4, 6, 7] x, float[k, 4] r, int64[k] b) => (float[k, 4, 2, 3] y) {
        y = RoiAlign<output_height = 2, output_width = 3, sampling_ratio = 2>(x, r, b)
    }"""
    path = written(model(text, opset), tmp_path)
    regions = torch.tensor([[0.0, 0, 3, 3], [1, 1, 5, 4], [2.5, 0.5, 6, 5]])
    inputs = (random(1, 4, 6, 7), regions, torch.zeros(3, dtype=torch.int64))
    assert error(outputs_of(from_onnx(path), *inputs), expected_of(path, *inputs)) < 1e-6


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("more", ["", ", linear_before_reset = 1"])
def test_recurrent_layers(operator: str, direction: str, more: str, tmp_path: Path) -> None:
    if more and operator != "GRU":
        return
    gates, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator], 1 + (direction == "bidirectional")
    cell = ", c0" if operator == "LSTM" else ""
    lengths = np.full(2, 5, dtype=np.int32)
    text = f"""g (float[5, 2, 3] x, float[{directions}, 2, 4] h0, float[{directions}, 2, 4] c0)
        => (float[a, b, c, d] y, float[e, f, g] h) {{
        y, h = {operator}<hidden_size = 4, direction = "{direction}"{more}>(x, w, r, b, lengths, h0{cell})
    }}"""
    weights: Any = {
        "w": (directions, 4 * gates, 3),
        "r": (directions, 4 * gates, 4),
        "b": (directions, 8 * gates),
        "lengths": lengths,
    }
    path = written(model(text, 14, **weights), tmp_path)
    inputs = (random(5, 2, 3), random(directions, 2, 4, seed=1), random(directions, 2, 4, seed=2))
    assert error(outputs_of(from_onnx(path), *inputs), expected_of(path, *inputs)) < 1e-5


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("clip = 1.0", "clip"),
        ('activations = ["Relu", "Tanh", "Tanh"]', "the activations"),
        ("input_forget = 1", "input_forget"),
    ],
)
def test_recurrent_settings_without_a_block(settings: str, why: str, tmp_path: Path) -> None:
    text = f"g (float[5, 2, 3] x) => (float[a, b, c, d] y) {{ y = LSTM<hidden_size = 4, {settings}>(x, w, r) }}"
    with pytest.raises(UnsupportedError, match=why):
        from_onnx(written(model(text, w=(1, 16, 3), r=(1, 16, 4)), tmp_path))
