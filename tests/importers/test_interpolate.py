"""torch's interpolate in all modes: imported with torch's numbers and derivatives, at other sizes, too."""

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop.exporters import to_onnx
from blockprop.importers import from_onnx, from_torch
from tests.importers.against_torch import assert_gradients_equal, assert_outputs_equal

PLACES = {1: (7,), 2: (5, 8), 3: (3, 4, 5)}
AXES = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "trilinear": (3,)}
AXES |= {"bicubic": (2,), "area": (1, 2, 3)}


class Interpolated(nn.Module):
    """A layer, so that there is something to differentiate, and interpolate."""

    def __init__(self, axes: int, settings: dict[str, Any]) -> None:
        super().__init__()
        self.conv = getattr(nn, f"Conv{axes}d")(2, 2, 1)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(x), **self.settings)


def rows() -> list[Any]:
    table = []
    for mode, counts in AXES.items():
        mixes = mode.endswith(("linear", "cubic"))
        for axes in counts:
            extents: list[dict[str, Any]] = [{"size": PLACES[axes][::-1]}, {"size": (1,) * axes}]
            extents += [{"scale_factor": 1.7}, {"scale_factor": tuple([0.6, 2.0, 1.3][:axes])}]
            extents += [{"scale_factor": 1.7, "recompute_scale_factor": True}]
            for extent, corners, smooth in product(extents, (False, True) if mixes else (None,), (False, True)):
                if not smooth or (axes == 2 and mixes):
                    settings = {**extent, "mode": mode, "align_corners": corners, "antialias": smooth}
                    table.append(pytest.param(axes, settings, id=f"{axes} axes, {settings}"))
    return table


@pytest.mark.parametrize(("axes", "settings"), rows())
def test_interpolate_is_imported_with_torchs_numbers(axes: int, settings: dict[str, Any]) -> None:
    module = Interpolated(axes, settings).double().eval()
    x = torch.randn(2, 2, *PLACES[axes], dtype=torch.float64)
    network = from_torch(module, x, free=False)
    assert_outputs_equal(network, module, (x,), 1e-12)
    assert_gradients_equal(network, module, (x,), 1e-9)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_other_sizes_are_torchs(corners: bool, smooth: bool) -> None:
    settings = {"scale_factor": 1.6, "mode": "bicubic", "align_corners": corners, "antialias": smooth}
    module = Interpolated(2, settings).double().eval()
    network = from_torch(module, torch.randn(2, 2, 5, 8, dtype=torch.float64))
    assert network.meta["free"]["x"] == [0, 2, 3]
    for places in ((9, 4), (3, 17)):
        x = torch.randn(3, 2, *places, dtype=torch.float64)
        assert_outputs_equal(network, module, (x,), 1e-12)
        assert_gradients_equal(network, module, (x,), 1e-9)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("extent", [{"size": (3, 11)}, {"scale_factor": 2.0}, {"scale_factor": (1.7, 0.6)}])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_there_and_back_through_onnx(tmp_path: Any, mode: str, extent: Any, corners: bool, smooth: bool) -> None:
    if mode.startswith("nearest") and (corners or smooth):
        pytest.skip("torch has no such setting")
    settings = {**extent, "mode": mode, "antialias": smooth, "align_corners": corners or None}
    module, x = Interpolated(2, settings).eval(), torch.randn(2, 2, 5, 8)
    to_onnx(from_torch(module, x, free=False), tmp_path / "network.onnx")
    network = from_onnx(tmp_path / "network.onnx")
    assert_outputs_equal(network, module, (x,), 1e-4)
    assert_gradients_equal(network, module, (x,), 1e-3)
