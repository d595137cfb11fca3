"""Operators that take a size as a number: of places, of repetitions, of elements; the size stays free."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.exporters import to_onnx
from blockprop.importers import from_onnx, from_torch
from tests.importers.against_torch import assert_gradients_equal, assert_outputs_equal
from tests.importers.test_free_axes import Function


def rolled(x: Tensor) -> Tensor:
    return x.roll((x.shape[2] // 2, -1), (2, 3)) + x.roll(-(x.shape[2] // 3), -2) + x.roll(x.shape[3] + 1)


def largest(x: Tensor) -> Tensor:
    return x.topk(x.shape[2] // 2, 2)[0] * x.topk(x.shape[2] // 2, 2, largest=False)[0].flip(2)


def places_of_the_largest(x: Tensor) -> Tensor:
    return x.gather(2, x.topk(x.shape[2] // 2, 2)[1])


def repeated(x: Tensor) -> Tensor:
    row = torch.arange(3.0, dtype=x.dtype)
    times = row.repeat(x.shape[0], 1, 1, math.ceil(x.shape[3] / 3))[..., : x.shape[3]]
    return x * times + torch.tile(x[:, :1], (1, x.shape[1], 1, 1)) + x.repeat(x.shape[2], 1, 1, 1)[: x.shape[0]]


def spaced(x: Tensor) -> Tensor:
    rows, columns = (torch.linspace(a, 0.5, n, dtype=x.dtype) for a, n in zip((-1, 2), x.shape[2:], strict=True))
    return x * torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def generalized_mean(x: Tensor) -> Tensor:
    y = x.clamp(min=1e-3).pow(3)
    return F.avg_pool2d(y, (x.size(-2), x.size(-1))).pow(1 / 3) + F.max_pool2d(y, x.shape[2:])


def taken(x: Tensor) -> Tensor:
    last = torch.tensor([0, 2, 1])[None, None, :, None]
    return torch.take_along_dim(x, x.argsort(3), 3).sum(2) + torch.take_along_dim(x, last, 2).sum(2)


def in_buckets(x: Tensor) -> Tensor:
    return x * torch.bucketize(x.detach(), torch.tensor([-1.0, 0, 1], dtype=x.dtype))


def alike(x: Tensor) -> Tensor:
    kinds = torch.tensor([[1.0, 0.5], [-0.3, 2], [1, -1]], dtype=x.dtype)
    return F.cosine_similarity(x.mean((2, 3))[:, None], kinds[None], dim=-1)[..., None] * x.mean(1)[:, :1]


def transformed(x: Tensor) -> Tensor:
    theta = torch.cat([x.mean((2, 3)), x.amax((2, 3)), x.sum((2, 3)).sin()], 1).view(-1, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=True), align_corners=True)


@pytest.mark.parametrize(
    "function",
    [rolled, largest, places_of_the_largest, repeated, spaced, generalized_mean, taken, in_buckets, alike, transformed],
)
def test_a_size_as_a_number_stays_free(function: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    module = Function(function)
    network = from_torch(module, torch.randn(2, 2, 6, 5, generator=generator, dtype=torch.float64))
    assert network.meta["free"]["x0"] in ([0, 2, 3], [0, 1, 2, 3])
    for shape in ((2, 2, 6, 5), (1, 2, 9, 4), (3, 2, 4, 11)):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        assert_outputs_equal(network, module, (x,), 1e-12)
        assert_gradients_equal(network, module, (x,), 1e-9)


def test_the_first_axis_of_another_input_stays_free_without_being_the_batch() -> None:
    module = Function(lambda x, y: x @ y.mT)
    network = from_torch(module, [torch.randn(2, 6), torch.randn(3, 6)])
    assert network.meta["free"] == {"x0": [0, 1], "x1": [0, 1]}
    assert network(torch.randn(4, 5), torch.randn(7, 5)).shape == (4, 7)


def test_as_many_of_the_largest_as_a_size_says_stay_free_in_onnx(tmp_path: Path) -> None:
    module = Function(largest)
    to_onnx(from_torch(module, torch.randn(2, 2, 6, 5)), tmp_path / "largest.onnx")
    network = from_onnx(tmp_path / "largest.onnx")
    for shape in ((2, 2, 6, 5), (1, 2, 9, 4)):
        assert_outputs_equal(network, module, (torch.randn(shape),), 1e-6)
