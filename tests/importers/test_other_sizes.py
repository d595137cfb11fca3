"""Every way in which a size gets into a module: at other sizes the network is right, or refuses them, never wrong."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

from blockprop.errors import BlockpropError, ShapeError
from blockprop.importers import from_onnx, from_torch
from blockprop.interop import to_torch
from blockprop.saving.storage import load, save

SIZES = [
    (1, 8, 8), (3, 8, 8), (2, 12, 8), (2, 8, 12), (3, 12, 12), (2, 7, 9), (2, 9, 7), (2, 16, 16), (3, 11, 13),
    (2, 4, 4), (2, 2, 3), (5, 24, 20), (1, 1, 1), (2, 32, 8), (2, 6, 6),
]  # fmt: skip
"""Batch, height, width; the example is 2 x 3 x 8 x 8."""


class Called(nn.Module):
    """function(module, x), with a table, an embedding and a transposed convolution to use."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.large, self.small = nn.Parameter(torch.randn(1, 3, 20, 20)), nn.Parameter(torch.randn(1, 3, 8, 8))
        self.words, self.wide = nn.Embedding(9, 8), nn.ConvTranspose2d(3, 3, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def resized(**settings: Any) -> Callable[[Any, Tensor], Tensor]:
    return lambda _, x: F.interpolate(x, **settings)


def resized_to(mode: str, size: Callable[[int], int]) -> Callable[[Any, Tensor], Tensor]:
    return lambda _, x: F.interpolate(x, size=tuple(size(n) for n in x.shape[2:]), mode=mode)


WAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    **{
        f"interpolate {mode} by {factor}, recomputed {again}": resized(
            scale_factor=factor, mode=mode, recompute_scale_factor=again
        )
        for mode in ("area", "bilinear", "nearest") for factor in (0.5, 1.3) for again in (None, True)
    },
    **{f"interpolate {mode} to a size": resized(size=(5, 7), mode=mode) for mode in ("area", "bicubic")},
    **{f"interpolate {mode} to half": resized_to(mode, lambda n: n // 2) for mode in ("area", "bilinear")},
    "interpolate to a rounded size": resized_to("bilinear", lambda n: round(n * 0.6)),
    "interpolate to a size cut off": resized_to("nearest", lambda n: int(n * 1.7)),
    "adaptive pooling": lambda _, x: F.adaptive_avg_pool2d(x, (3, 2)),
    "adaptive pooling to half": lambda _, x: F.adaptive_avg_pool2d(x, (x.shape[2] // 2, None)),
    "adaptive maxima": lambda _, x: F.adaptive_max_pool2d(x, (3, 2)),
    "pooling it all": lambda _, x: F.avg_pool2d(x, x.shape[2:]),
    "pooling by a part": lambda _, x: F.avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 3)),
    "maxima of all rows": lambda _, x: F.max_pool2d(x, (x.shape[2], 1)),
    "arange over a size": lambda _, x: x * torch.arange(x.shape[3]),
    "arange of a number": lambda _, x: x * torch.arange(8),
    "linspace over a size": lambda _, x: x + torch.linspace(0, 1, x.shape[3]),
    "table cut to the size": lambda m, x: x + m.large[:, :, : x.shape[2], : x.shape[3]],
    "table of one size": lambda m, x: x + m.small,
    "table resized": lambda m, x: x + F.interpolate(m.small, size=x.shape[2:], mode="bicubic"),
    "embedded positions": lambda m, x: x + m.words(torch.arange(x.shape[3])),
    "one-hot positions": lambda _, x: x + F.one_hot(torch.arange(x.shape[3]), x.shape[3]),
    "the first 5": lambda _, x: x[:, :, :5],
    "the first 9 of 8": lambda _, x: x[:, :, :9],
    "the last 3": lambda _, x: x[:, :, -3:],
    "the first half": lambda _, x: x[:, :, : x.shape[2] // 2],
    "the middle": lambda _, x: x[:, :, (x.shape[2] - 4) // 2 : (x.shape[2] - 4) // 2 + 4],
    "one in the middle": lambda _, x: x[:, :, x.shape[2] // 2],
    "padding to a multiple": lambda _, x: F.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4)),
    "padding if odd": lambda _, x: F.pad(x, (0, 1)) if x.shape[3] % 2 else x,
    "padding to 12": lambda _, x: F.pad(x, (0, max(0, 12 - x.shape[3]))),
    "reshape": lambda _, x: x.reshape(x.shape[0], 3, -1).mean(2),
    "reshape to numbers": lambda _, x: x.reshape(-1, 3, 64),
    "reshape to computed sizes": lambda _, x: x.reshape(x.shape[0], 3, x.shape[2] // 2, 2, x.shape[3]),
    "reshape of the batch": lambda _, x: x.reshape(2, -1),
    "windows": lambda _, x: x.view(x.shape[0], 3, x.shape[2] // 4, 4, x.shape[3] // 4, 4).transpose(3, 4).flatten(0, 3),
    "if larger": lambda _, x: x * 2 if x.shape[2] > 10 else x * 3,
    "if even": lambda _, x: x * 2 if x.shape[2] % 2 == 0 else x * 3,
    "if square": lambda _, x: x * 2 if x.shape[2] == x.shape[3] else x * 3,
    "if 8": lambda _, x: x * 2 if x.shape[2] == 8 else x * 3,
    "if several": lambda _, x: x if x.shape[0] > 1 else x * 2,
    "for each row": lambda _, x: torch.stack([x[:, :, i].sum(-1) * i for i in range(x.shape[2])], -1),
    "for 8 rows": lambda _, x: sum((x[:, :, i] * i for i in range(8)), torch.zeros(())),
    "chunks": lambda _, x: x.chunk(2, 2)[0],
    "the last piece": lambda _, x: x.split(3, 2)[-1],
    "roll by half": lambda _, x: x.roll(x.shape[2] // 2, 2),
    "over the root of a size": lambda _, x: x / math.sqrt(x.shape[3]),
    "over the count": lambda _, x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]),
    "times a logarithm": lambda _, x: x * math.log(x.shape[3]),
    "over the batch": lambda _, x: x / x.shape[0],
    "repeat by a size": lambda _, x: x.repeat(1, 1, x.shape[3] // 4, 1),
    "largest half": lambda _, x: x.flatten(2).topk(max(1, x.shape[2] // 2), -1)[0],
    "affine grid": lambda _, x: F.grid_sample(
        x, F.affine_grid(torch.eye(2, 3).expand(x.shape[0], 2, 3), list(x.shape), align_corners=False),
        align_corners=False,
    ),
    "fold to the size": lambda _, x: F.fold(F.unfold(x, 2, stride=2), x.shape[2:], 2, stride=2),
    "transposed convolution to 16": lambda m, x: m.wide(x, output_size=(16, 16)),
    "transposed convolution to twice": lambda m, x: m.wide(x, output_size=[2 * n for n in x.shape[2:]]),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("free", [True, False], ids=["free", "fixed"])
def test_at_other_sizes_the_network_is_right_or_refuses(way: str, free: bool) -> None:
    torch.manual_seed(0)
    module, example = Called(WAYS[way]).eval(), torch.randn(2, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = from_torch(module, example, free=free)
    torch.testing.assert_close(network(example), module(example).detach())
    for batch, height, width in SIZES:
        x = torch.randn(batch, 3, height, width)
        try:
            y = network(x)
        except BlockpropError:
            continue
        torch.testing.assert_close(y, module(x).detach(), rtol=1e-4, atol=1e-5)


def test_the_error_names_the_input_and_both_sizes_and_is_kept_by_files_and_modules(tmp_path: Path) -> None:
    module = Called(WAYS["if even"]).eval()
    with pytest.warns(UserWarning, match="fixed"):
        network = from_torch(module, torch.randn(2, 3, 8, 8))
    assert network.meta["sizes"] == {"x": [None, 3, 8, 8]}
    save(network, tmp_path / "network.safetensors")
    for same in (network, load(tmp_path / "network.safetensors"), network.copy(), to_torch(network)):
        with pytest.raises(ShapeError, match="input 'x' is 2 x 3 x 9 x 8, but the import fixed it at any x 3 x 8 x 8"):
            same(torch.randn(2, 3, 9, 8))
        assert same(torch.randn(4, 3, 8, 8)).shape == (4, 3, 8, 8)


def onnx_file(path: Path, nodes: list[Any], constants: dict[str, Any], shape: list[int | str]) -> Path:
    weights = [helper.make_tensor(n, kind, [len(v)], v) for n, (kind, v) in constants.items()]
    graph = helper.make_graph(
        nodes, "sizes", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


INTS = TensorProto.INT64
ONNX_WAYS: dict[str, tuple[list[Any], dict[str, Any], Callable[[Tensor], Tensor]]] = {
    "reshape to numbers": (
        [helper.make_node("Reshape", ["x", "shape"], ["y"])], {"shape": (INTS, [-1, 192])},
        lambda x: x.reshape(-1, 192),
    ),
    "reshape of one example": (
        [helper.make_node("Reshape", ["x", "shape"], ["y"])], {"shape": (INTS, [2, -1])}, lambda x: x.reshape(2, -1),
    ),
    "slice": (
        [helper.make_node("Slice", ["x", "start", "end", "axis"], ["y"])],
        {"start": (INTS, [0]), "end": (INTS, [9]), "axis": (INTS, [2])}, lambda x: x[:, :, :9],
    ),
    "resize": (
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", nearest_mode="floor",
                          coordinate_transformation_mode="asymmetric")],
        {"sizes": (INTS, [2, 3, 16, 16])}, lambda x: F.interpolate(x[[0, len(x) // 2]], size=(16, 16)),
    ),
    "size as a factor": (
        [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
         helper.make_node("Sqrt", ["f"], ["r"]), helper.make_node("Mul", ["x", "r"], ["y"])],
        {}, lambda x: x * torch.tensor(x.shape).float().sqrt(),
    ),
    "if even": (
        [helper.make_node("Shape", ["x"], ["s"], start=2, end=3), helper.make_node("Mod", ["s", "two"], ["odd"]),
         helper.make_node("Cast", ["odd"], ["b"], to=TensorProto.BOOL), helper.make_node("Neg", ["x"], ["minus"]),
         helper.make_node("Where", ["b", "minus", "x"], ["y"])],
        {"two": (INTS, [2])}, lambda x: -x if x.shape[2] % 2 else x,
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", ONNX_WAYS)
@pytest.mark.parametrize("shape", [["n", 3, "h", "w"], [2, 3, 8, "w"], [2, 3, 8, 8], [None] * 4])
def test_an_onnx_file_at_other_sizes_is_right_or_refused(tmp_path: Path, way: str, shape: list[Any]) -> None:
    nodes, constants, function = ONNX_WAYS[way]
    path = onnx_file(tmp_path / "model.onnx", nodes, constants, shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = from_onnx(path, {"x": (2, 3, 8, 8)})
    except BlockpropError:
        return
    tried = 0
    for batch, height, width in [(2, 8, 8), *SIZES]:
        x = torch.randn(batch, 3, height, width)
        try:
            y = network(x)
        except BlockpropError:
            continue
        torch.testing.assert_close(y, function(x), rtol=1e-4, atol=1e-5)
        tried += 1
    assert tried
