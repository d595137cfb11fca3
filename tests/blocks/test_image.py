"""Every mode and setting of torch's interpolate: values and derivatives, sizes of one, whole and other factors."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blockprop.blocks import Resize
from blockprop.errors import SettingError

SIZES = {1: [(1,), (4,), (7,)], 2: [(1, 5), (4, 6), (7, 1)], 3: [(1, 4, 3), (3, 2, 5)]}
NEW_SIZES = {1: [(1,), (3,), (9,)], 2: [(1, 3), (8, 5), (3, 12)], 3: [(2, 1, 6), (1, 4, 3)]}
SCALES = [0.3, 0.5, 0.9, 1.0, 1.1, 1.7, 2.0, 3.0]
AXES = {"nearest": 3, "nearest-exact": 3, "linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


def settings(mode: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(axes of places, settings of both Resize and interpolate)"""
    mixes = not mode.startswith("nearest")
    for axes in (AXES[mode],) if mixes else (1, 2, 3):
        extents = [{"size": size} for size in NEW_SIZES[axes]] + [{"scale": (scale,) * axes} for scale in SCALES]
        extents += [{"scale": tuple(SCALES[i : i + axes])} for i in (0, 4)]
        for extent, corners, smooth in product(extents, (False, True)[: 1 + mixes], (False, True)):
            if not smooth or mode in ("bilinear", "bicubic"):
                yield axes, {**extent, "mode": mode, "align_corners": corners, "antialias": smooth}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("mode", AXES)
def test_resize_is_torchs_interpolate(mode: str, dtype: torch.dtype) -> None:
    """The derivative is that of what goes forward: torch's own is another where a scale leaves the size as it is."""
    tolerance = 1e-11 if dtype == torch.float64 else 3e-5
    for axes, given in settings(mode):
        for places in SIZES[axes]:
            if given["antialias"] and places[-1] == 1:
                continue  # where torch takes rows for channels
            x = torch.randn(2, 3, *places, dtype=dtype)
            corners = given["align_corners"] if not mode.startswith("nearest") else None
            settings_ = (given.get("size"), given.get("scale"), mode, corners)
            try:
                y = F.interpolate(x, *settings_, antialias=given["antialias"])
            except RuntimeError:
                continue  # nothing is left
            d_y = torch.randn_like(y)
            block = Resize(**given)
            value, saved = block.forward(x)
            (d_x,) = block.propagate(saved, d_y)
            torch.testing.assert_close(value, y, rtol=0, atol=0)
            units = torch.eye(math.prod(places), dtype=dtype).view(1, -1, *places)
            rows = F.interpolate(units, *settings_, antialias=given["antialias"])[0].flatten(1)
            expected = (d_y.flatten(2) @ rows.t()).view(x.shape)
            difference = (d_x - expected).abs().max()
            assert difference < tolerance * (1 + expected.abs().max()), f"{block}, {places}: {difference}"


def test_nearest_rounds_as_torch_does() -> None:
    """In float32, p · (h / h') falls below whole numbers that it should reach; h and 2 h have rules of their own."""
    for size, outputs in product(range(1, 40, 3), range(1, 60, 2)):
        x = torch.randn(1, 1, size, requires_grad=True)
        for mode in ("nearest", "nearest-exact"):
            x.grad = None
            y = F.interpolate(x, outputs, mode=mode)
            y.backward(torch.ones_like(y))
            block = Resize((outputs,), mode=mode)
            assert torch.equal(block.propagate(block.forward(x.detach())[1], torch.ones_like(y))[0], x.grad)


def test_long_sequences_take_no_memory_of_their_square() -> None:
    x = torch.randn(1, 1, 60_000, dtype=torch.float64, requires_grad=True)
    y = F.interpolate(x, scale_factor=1.5, mode="linear")
    d_y = torch.randn_like(y)
    y.backward(d_y)
    block = Resize(scale=1.5, mode="linear")
    torch.testing.assert_close(block.propagate(block.forward(x.detach())[1], d_y)[0], x.grad)


@pytest.mark.parametrize(
    "given",
    [
        {"size": (4, 4), "mode": "nearest", "align_corners": True},
        {"size": (4, 4), "mode": "nearest", "antialias": True},
        {"size": (4, 4, 4), "mode": "bicubic"},
        {"size": (4, 4), "mode": "linear"},
        {"size": (4, 4), "mode": "area"},
        {"size": (0, 4)},
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Resize(**given)
