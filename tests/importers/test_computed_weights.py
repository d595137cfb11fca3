"""Weights that a module computes from weights, kernels that it computes from its input, complex numbers, made types."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers import from_torch
from tests.importers.against_torch import assert_gradients_equal, assert_outputs_equal


class Computed(nn.Module):
    """A convolution with a weight that a function computes from another one."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.randn(8, 3, 3, 3)), function

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.function(self.weight), padding=1)


def standardized(w: Tensor) -> Tensor:
    return F.batch_norm(w.reshape(1, 8, -1), None, None, training=True, momentum=0.0).reshape_as(w)


def by_statistics(w: Tensor) -> Tensor:
    variance, mean = torch.var_mean(w, dim=(1, 2, 3), keepdim=True, unbiased=False)
    return (w - mean) / (variance + 1e-6).sqrt()


WEIGHTS = {
    "batch_norm": standardized,
    "var_mean": by_statistics,
    "chunk": lambda w: w.chunk(2)[0] * w.chunk(2)[1],
    "split": lambda w: w.split([3, 5])[1].exp(),
    "max": lambda w: w - w.max(1, keepdim=True)[0],
    "argmax": lambda w: w * w.flatten(1).max(1)[1].view(-1, 1, 1, 1),
    "unbind": lambda w: torch.stack(w.unbind(0)[::-1]),
    "sort": lambda w: w.sort(0)[0],
    "topk": lambda w: w.topk(3, 0)[0],
    "svd": lambda w: w / torch.linalg.svd(w.flatten(1))[1][0],
    "qr": lambda w: torch.linalg.qr(w.flatten(1).T)[0].T.reshape(8, 3, 3, 3),
    "cummax": lambda w: w.cummax(1)[0],
    "aminmax": lambda w: (w - torch.aminmax(w)[0]) / torch.aminmax(w)[1],
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_computed_from_weights_are_worked_out(name: str) -> None:
    module, x = Computed(WEIGHTS[name]).double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    network = from_torch(module, x)
    assert [type(node.block) for node in network.nodes] == [blocks.Conv2d]
    assert network.meta["computed"] == ["conv2d.weight"]
    assert network.meta["free"]["x"] == [0, 2, 3]
    assert_outputs_equal(network, module, (torch.randn(3, 3, 7, 5, dtype=torch.float64),), 1e-12)


class Dynamic(nn.Module):
    """A convolution whose kernel, and bias, follow from the pictures."""

    def __init__(self, transposed: bool, padding: Any = 1) -> None:
        super().__init__()
        self.head, self.transposed, self.padding = nn.Linear(3, 3 * 3 * 4), transposed, padding

    def forward(self, x: Tensor) -> Tensor:
        code = x.mean((0, 2, 3))
        kernel = self.head(code).view(3, 3, 2, 2)
        if self.transposed:
            return F.conv_transpose2d(x, kernel, code, stride=2, output_padding=1)
        return F.conv2d(x, kernel, code, padding=self.padding)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(("transposed", "padding"), [(False, 1), (False, "same"), (True, 0)])
def test_kernels_computed_from_the_input(transposed: bool, padding: Any) -> None:
    module, x = Dynamic(transposed, padding).double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    network = from_torch(module, x)
    assert network.meta["free"]["x"] == [0, 2, 3]
    for pictures in (x, torch.randn(3, 3, 7, 5, dtype=torch.float64)):
        assert_outputs_equal(network, module, (pictures,), 1e-12)
        assert_gradients_equal(network, module, (pictures,), 1e-12)


def rotated(x: Tensor) -> Tensor:
    angles = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype)
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angles), angles)
    return torch.view_as_real(turned).flatten(2)


COMPLEX = [
    rotated,
    lambda x: torch.fft.irfft(torch.fft.rfft(x, dim=1) * 2, n=x.shape[1], dim=1),
    lambda x: torch.fft.fft2(x).real,
    lambda x: torch.complex(x, x.flip(1)).abs(),
]


class Lambda(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.filterwarnings("ignore:opaque", "ignore:ax.s ")
@pytest.mark.parametrize("function", COMPLEX)
def test_complex_numbers_are_refused_or_torchs_own(function: Any) -> None:
    module, x = Lambda(function), torch.randn(2, 6, 4, dtype=torch.float64)
    with pytest.raises(UnsupportedError, match="complex numbers have no block"):
        from_torch(module, x)
    network = from_torch(module, x, opaque=True)
    assert_outputs_equal(network, module, (x,), 1e-12)
    assert_gradients_equal(network, module, (x,), 1e-12)


class MadeStates(nn.Module):
    """States, places and masks that the module makes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.rows = nn.GRUCell(4, 4), nn.LSTM(4, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.shape[0], 4)
        for i in range(2):
            state = self.cell(x[:, i], state)
        y, _ = self.rows(x, (torch.ones(1, x.shape[0], 4), x.new_zeros(1, x.shape[0], 4)))
        places = torch.arange(x.shape[1], dtype=torch.float32) / 10
        return y + state[:, None] + places[:, None] + (places > 0.1).float()[:, None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.bfloat16, 5e-2)])
def test_what_a_network_makes_follows_its_type(dtype: torch.dtype, tolerance: float) -> None:
    module, x = MadeStates().eval(), torch.randn(3, 5, 4)
    network = from_torch(module, torch.randn(2, 6, 4)).to(dtype=dtype)
    y = network(x.to(dtype))
    assert y.dtype == dtype
    assert (y.float() - module(x)).abs().max() < tolerance
