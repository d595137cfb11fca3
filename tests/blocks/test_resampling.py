"""Resampling beyond the common checks: by hand, torch, ONNX's reference, onnxruntime, both ways of computing."""

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import Resample
from blockprop.blocks.bands import Band, along
from blockprop.errors import SettingError, ShapeError
from tests.cases.resampling import onnx_resize

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "asymmetric",
    "align_corners",
    "tf_crop_and_resize",
)


def resample(numbers: list[float], *given: Any, **settings: Any) -> list[float]:
    return Resample(*given, axes=(0,), **settings)(torch.tensor(numbers, dtype=torch.float64)).tolist()


def test_by_hand() -> None:
    assert resample([1, 2], 4, mode="linear") == [1, 1.25, 1.75, 2]
    assert resample([1, 2], 3, mode="linear", coordinates="align_corners") == [1, 1.5, 2]
    assert resample([1, 2, 3, 4], 2, mode="linear", antialias=True) == pytest.approx([13 / 8, 27 / 8])
    assert resample([0, 8], 1, mode="linear", coordinates="pytorch_half_pixel") == [0]
    block = Resample(4, mode="linear", axes=(0,))
    _, saved = block.forward(torch.tensor([1.0, 2.0]))
    assert block.propagate(saved, torch.tensor([1.0, 10.0, 100.0, 1000.0]))[0].tolist() == [33.5, 1077.5]


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [("round_prefer_floor", [0, 2]), ("round_prefer_ceil", [1, 3]), ("floor", [0, 2]), ("ceil", [1, 3])],
)
def test_halfway_between_two_places(rounding: str, expected: list[float]) -> None:
    """Four to two: the new places lie at 0.5 and 2.5."""
    assert resample([0, 1, 2, 3], 2, nearest_mode=rounding) == expected


@pytest.mark.parametrize("size", range(1, 40))
def test_halves_are_met_exactly(size: int) -> None:
    """Three times as small, five times as large: whatever the size, all middles are real middles."""
    numbers = [float(i) for i in range(3 * size)]
    assert resample(numbers, size, nearest_mode="floor") == numbers[1::3]
    assert resample(numbers, size, nearest_mode="ceil") == numbers[1::3]
    larger = resample(numbers[:size], 5 * size)
    assert larger == [i for i in numbers[:size] for _ in range(5)]


def test_the_part_of_x_ends_where_it_should() -> None:
    """The last place lies on the last element, whatever the roundings on the way there, and not outside."""
    for start in (0.1, 0.27, 1 / 3, 0.7):
        for size in range(2, 30):
            settings = {"mode": "linear", "coordinates": "tf_crop_and_resize", "extrapolation_value": -1.0}
            assert resample([0.0] * (size - 1) + [1.0], 7, roi=(start, 1.0), **settings)[-1] == 1
            assert resample([1.0] + [0.0] * (size - 1), 7, roi=(start, 0.0), **settings)[-1] == 1
            assert resample([1.0] * size, 7, roi=(start, 1.01), **settings)[-1] == -1


def test_the_aspect_ratio_can_be_kept() -> None:
    x = torch.zeros(1, 1, 10, 4)
    for policy, expected in (("stretch", (5, 9)), ("not_larger", (5, 2)), ("not_smaller", (23, 9))):
        assert Resample((5, 9), keep_aspect_ratio=policy)(x).shape[2:] == expected  # 22.5 is rounded up


@pytest.mark.parametrize(
    "mode", ["bilinear", "bicubic", "nearest-exact", "nearest", "antialias bilinear", "antialias bicubic"]
)
@pytest.mark.parametrize("seed", range(10))
def test_torch_does_the_same(mode: str, seed: int) -> None:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    x = torch.randn(2, 2, draw.randint(1, 40), draw.randint(1, 40), dtype=torch.float64, requires_grad=True)
    settings: dict[str, Any] = {"mode": mode.removeprefix("antialias ")}
    mine: dict[str, Any] = {
        "nearest": {"coordinates": "asymmetric", "nearest_mode": "floor"},
        "nearest-exact": {"nearest_mode": "round_prefer_ceil"},
        "bilinear": {"mode": "linear"},
        "bicubic": {"mode": "cubic"},
    }[settings["mode"]]
    if mode.startswith("antialias"):
        settings["antialias"] = True
        mine |= {"antialias": True, "exclude_outside": True, "cubic_coefficient": -0.5}
    elif mode in ("bilinear", "bicubic") and seed % 3 == 0:
        settings["align_corners"] = True
        mine["coordinates"] = "align_corners"
    sizes = (draw.randint(1, 60), draw.randint(1, 60))
    if "nearest" in mode:  # torch rounds sizes that do not divide each other in its own way
        sizes = (x.shape[2] * draw.randint(1, 3), x.shape[3] * draw.randint(1, 3))
    theirs = F.interpolate(x, sizes, **settings)
    d_y = torch.randn_like(theirs)
    theirs.backward(d_y)
    block = Resample(sizes, **mine)
    y, saved = block.forward(x.detach())
    torch.testing.assert_close(y, theirs.detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(block.propagate(saved, d_y)[0], x.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(60))
def test_onnx_does_the_same(seed: int) -> None:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    axes = draw.choice([1, 2, 3])
    block = _drawn(draw, axes)
    x = torch.randn(2, *(draw.randint(2, 6) for _ in range(axes)), dtype=torch.float64)
    # float64 on both sides, sums of at most some hundred terms
    torch.testing.assert_close(block(x), onnx_resize(block, x), rtol=1e-10, atol=1e-10)


def _drawn(draw: random.Random, axes: int) -> Resample:
    """Any settings, but for those where ONNX's reference leaves its own text (pytorch_half_pixel to one place), and for
    odd sizes between places, where its roundings decide."""
    mode, coordinates = draw.choice(MODES), draw.choice(COORDINATES)
    settings: dict[str, Any] = {"mode": mode, "coordinates": coordinates, "axes": tuple(range(-axes, 0))}
    if draw.random() < 0.5:
        settings["sizes"] = tuple(draw.randint(2, 9) for _ in range(axes))
        if coordinates == "half_pixel":
            settings["keep_aspect_ratio"] = draw.choice(["stretch", "not_larger", "not_smaller"])
    else:
        settings["scales"] = tuple(draw.choice([1.03, 1.37, 2.21, 2.9]) for _ in range(axes))
    if coordinates == "tf_crop_and_resize":
        starts, ends = (-0.21, 0.13, 0.27), (0.47, 0.91, 1.23)
        roi = tuple(draw.choice(choices) for choices in (starts, ends) for _ in range(axes))
        settings |= {"roi": roi, "extrapolation_value": 1.5}
    if mode == "nearest":
        settings["nearest_mode"] = draw.choice(["round_prefer_floor", "round_prefer_ceil"])
    elif draw.random() < 0.3:
        settings |= {"antialias": True, "coordinates": "half_pixel", "roi": None}
    if mode == "cubic":
        settings |= {"cubic_coefficient": draw.choice([-0.5, -0.75]), "exclude_outside": draw.random() < 0.5}
    return Resample(**settings)


@pytest.mark.parametrize(
    ("opset", "attributes", "settings"),
    [
        (10, {"mode": "nearest"}, {"scales": (2.0, 3.0), "coordinates": "asymmetric", "nearest_mode": "floor"}),
        (10, {"mode": "linear"}, {"scales": (1.5, 0.5), "mode": "linear", "coordinates": "asymmetric"}),
        (11, {"mode": "cubic", "cubic_coeff_a": -0.5}, {"sizes": (7, 3), "mode": "cubic", "cubic_coefficient": -0.5}),
        (
            11,
            {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
            {"sizes": (1, 7), "mode": "linear", "coordinates": "pytorch_half_pixel"},
        ),
        (
            11,
            {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "tf_half_pixel_for_nn"},
            {"sizes": (3, 9), "nearest_mode": "floor", "coordinates": "tf_half_pixel_for_nn"},
        ),
        (
            13,
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            {"sizes": (9, 4), "mode": "linear", "coordinates": "align_corners"},
        ),
        (
            13,
            {"mode": "nearest", "nearest_mode": "ceil", "coordinate_transformation_mode": "asymmetric"},
            {"sizes": (7, 3), "nearest_mode": "ceil", "coordinates": "asymmetric"},
        ),
        (18, {"mode": "linear", "antialias": 1}, {"sizes": (2, 3), "mode": "linear", "antialias": True}),
        (
            18,
            {"mode": "cubic", "exclude_outside": 1},
            {"scales": (0.75, 1.5), "mode": "cubic", "exclude_outside": True},
        ),
        (
            19,
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
            {"scales": (0.75, 1.75), "mode": "linear", "coordinates": "half_pixel_symmetric"},
        ),
    ],
)
def test_onnxruntime_does_the_same(opset: int, attributes: dict[str, Any], settings: dict[str, Any]) -> None:
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession

    x = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    values = {"roi": ([], TensorProto.FLOAT), "scales": ([], TensorProto.FLOAT), "sizes": ([], TensorProto.INT64)}
    if "scales" in settings:
        values["scales"][0].extend([1, 1, *settings["scales"]])
        del values["sizes"]
    else:
        values["sizes"][0].extend([1, 2, *settings["sizes"]])
    if opset == 10:
        del values["roi"]
    # From 13 on, what is not given may be left out; before, it must be there and empty.
    names = [name if numbers or opset <= 11 else "" for name, (numbers, _) in values.items()]
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", *names], ["y"], **attributes)],
        "",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)],
        [helper.make_tensor(name, values[name][1], [len(values[name][0])], values[name][0]) for name in names if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    torch.testing.assert_close(Resample(**settings)(x), theirs, rtol=1e-5, atol=1e-5)  # float32 on their side


@pytest.mark.parametrize("seed", range(30))
def test_a_band_of_copies_is_the_product_with_its_matrix(seed: int) -> None:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    outputs, size, width = draw.randint(1, 90), draw.randint(1, 90), draw.randint(1, 3)
    matrix = torch.zeros(outputs, size, dtype=torch.float64)
    for row in range(outputs):
        first = draw.randrange(size)
        band = matrix[row, first : first + width]
        band[:] = 1.0 if seed % 2 else torch.rand_like(band)
    axis = draw.randrange(3)
    shape = [2, 3, 4]
    shape[axis] = size
    x = torch.randn(shape, dtype=torch.float64)
    rows, columns = matrix.nonzero().unbind(1)
    weights, order = matrix[rows, columns], torch.randperm(2 * len(rows))
    twice = rows.repeat(2)[order], columns.repeat(2)[order], (weights / 2).repeat(2)[order]  # halves add up
    band = Band.of(*twice, (outputs, size))
    assert torch.equal(band.dense(), matrix)
    assert torch.equal(band.transposed().dense(), matrix.t())
    y = band.times(x, axis)
    torch.testing.assert_close(y, torch.tensordot(matrix, x, ([1], [axis])).movedim(0, axis), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(y, along(matrix, x, axis), rtol=1e-12, atol=1e-12)


def test_long_sequences_take_no_matrix() -> None:
    """Of 100,000 by 200,000 elements, that is."""
    block, x = Resample(scales=2, axes=(2,)), torch.randn(1, 2, 100_000)
    y, saved = block.forward(x)
    assert torch.equal(y, x.repeat_interleave(2, 2))
    torch.testing.assert_close(block.propagate(saved, y)[0], 2 * x)


@pytest.mark.parametrize("seed", range(10))
def test_propagation_is_the_adjoint(seed: int) -> None:
    """⟨d_y, R x⟩ = ⟨Rᵀ d_y, x⟩, up to what extrapolation adds."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    block = _drawn(draw, 3)
    block.extrapolation_value = 0.0
    x = torch.randn(2, *(draw.randint(2, 40) for _ in range(3)), dtype=torch.float64)
    y, saved = block.forward(x)
    d_y = torch.randn_like(y)
    torch.testing.assert_close((d_y * y).sum(), (block.propagate(saved, d_y)[0] * x).sum(), rtol=1e-11, atol=1e-11)


def test_nearest_copies_whatever_there_is() -> None:
    """No product with 0 makes NaN of infinities, and whole numbers stay so."""
    x = torch.tensor([[[[float("inf"), 1.0, float("nan")]]]])
    y = Resample(scales=2)(x)
    torch.testing.assert_close(y, x.repeat_interleave(2, 2).repeat_interleave(2, 3), equal_nan=True)
    numbers = torch.arange(6).view(1, 1, 2, 3)
    assert torch.equal(Resample((1, 3))(numbers), numbers[:, :, :1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("mode", MODES)
def test_other_numbers_and_shapes_without_numbers(mode: str, dtype: torch.dtype) -> None:
    block, x = Resample(scales=(2, 0.5), mode=mode), torch.randn(2, 3, 6, 80)
    y, saved = block.forward(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), block(x), rtol=0.05, atol=0.05)
    assert block.propagate(saved, y)[0].dtype == dtype
    assert block(torch.empty(2, 3, 6, 80, device="meta", dtype=dtype)).shape == y.shape


def test_errors() -> None:
    with pytest.raises(SettingError, match="give either sizes or scales"):
        Resample()
    with pytest.raises(SettingError, match="mode must be one of nearest, linear, cubic, came 'area'"):
        Resample(2, mode="area")
    with pytest.raises(SettingError, match=r"a positive number for each of the axes \(-2, -1\), came \(2, 0\)"):
        Resample((2, 0))
    with pytest.raises(SettingError, match="a positive number for each"):
        Resample(scales=(2.0,))
    with pytest.raises(SettingError, match="needs a roi of 4 numbers, came None"):
        Resample(2, coordinates="tf_crop_and_resize")
    with pytest.raises(ShapeError, match=r"places along the axes \(2,\), came \(3, 4\)"):
        Resample(2, axes=(2,))(torch.zeros(3, 4))
    with pytest.raises(ShapeError, match=r"nothing is left of \(1, 1, 3, 4\)"):
        Resample(scales=0.3)(torch.zeros(1, 1, 3, 4))
