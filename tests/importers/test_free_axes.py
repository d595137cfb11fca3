"""Batch and lengths that stay free, however sizes take part; and words for those that do not."""

import math
import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop.importers import from_torch
from tests.importers.against_torch import assert_gradients_equal, assert_outputs_equal
from tests.importers.small_modules import asserted


class Function(nn.Module):
    """A function of tensors as a module, with a layer in front."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def padding_mask(x: Tensor, mask: Tensor) -> Tensor:
    b, n, _ = x.shape
    keep = mask[torch.arange(b)[:, None, None], torch.arange(n)[None, None, :]]
    return torch.where(keep, x.sum(-1)[:, None, :], torch.zeros((), dtype=x.dtype)).sum(-1)


def last_token(x: Tensor, mask: Tensor) -> Tensor:
    return x[torch.arange(x.shape[0]), mask.sum(1) - 1]


def packed(x: Tensor, _: Tensor) -> Tensor:
    places = torch.arange(x.shape[1]).expand(x.shape[0], -1)
    return x + (torch.diff(places, prepend=places[:, :1] - 1, dim=-1) != 1).cumsum(-1)[..., None]


def split_indices(x: Tensor, _: Tensor) -> Tensor:
    return x[torch.arange(x.shape[0])[:, None], :, torch.tensor([0, -1])]


def written(x: Tensor, _: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[torch.arange(x.shape[0]), -1] = x[:, 0]
    return y * x


def repeated(x: Tensor, mask: Tensor) -> Tensor:
    return x.mean(1, keepdim=True).repeat(1, mask.shape[1], 1) - x


def interleaved(x: Tensor, _: Tensor) -> Tensor:
    return x[:, :1].repeat_interleave(x.shape[1], dim=1) * x


def times_a_number(x: Tensor, _: Tensor) -> Tensor:
    return x * x.sum().item()


def first_rows(x: Tensor, _: Tensor) -> Tensor:
    return x + torch.eye(x.shape[1], x.shape[2])


def written_apart(x: Tensor, _: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[..., 0::2], y[:, 1::2, 1::2] = x[..., :2].sin(), x[:, 1::2, :2]
    return y * x


def written_at_mask(x: Tensor, mask: Tensor) -> Tensor:
    y = x.clone()
    y[~mask] = x.mean((0, 1))
    return y


def filled_with_size(x: Tensor, _: Tensor) -> Tensor:
    return x / torch.full((x.shape[0],), x.shape[1])[:, None, None]


def cut_at_the_end(x: Tensor, _: Tensor) -> Tensor:
    n = x.shape[1]
    padded = F.pad(x, (0, 0, 0, -n % 3))
    return padded.view(x.shape[0], -1, 3, x.shape[2]).softmax(2).flatten(1, 2)[:, :n].contiguous()


def windows(x: Tensor, _: Tensor) -> Tensor:
    return x.unfold(1, 3, 2).mean(-1)


def causal(x: Tensor, mask: Tensor) -> Tensor:
    n = x.shape[1]
    allowed = torch.ones(n, n, dtype=torch.bool).tril() & mask[:, None, :]
    return F.scaled_dot_product_attention(x, x, x, allowed)


def relative(x: Tensor, _: Tensor) -> Tensor:
    n = x.shape[1]
    distance = torch.arange(n)[:, None] - torch.arange(n)[None]
    return x + torch.linspace(0, 1, 9, dtype=x.dtype)[distance.clamp(-4, 4) + 4].sum(1)[:, None]


def grid(x: Tensor, _: Tensor) -> Tensor:
    a, b = torch.meshgrid(torch.arange(x.shape[1]), torch.arange(x.shape[0]), indexing="xy")
    return x + (a * 2 + b)[..., None]


def into_and_out_of_no_grad(x: Tensor, _: Tensor) -> Tensor:
    places = torch.zeros(x.shape[:2], dtype=x.dtype)
    with torch.no_grad():
        b, n = places.shape
        made = (places + torch.arange(n)).reshape(b * n).view(b, n)
        half = torch.ones(made.shape[0] * made.shape[1]).view(made.shape)
        with torch.enable_grad():
            y = x.reshape(made.shape[0] * half.shape[1], -1)
    return (y.view(half.shape[0], half.shape[1], -1) + made[..., None]) * torch.ones(made.shape)[..., None]


def added_at_places(x: Tensor, _: Tensor) -> Tensor:
    places = torch.arange(x.shape[1]) % 2
    rows = torch.zeros(2, *x.shape[::2], dtype=x.dtype).index_add(0, places, x.mT.permute(2, 0, 1))
    return torch.zeros_like(x).index_add_(1, places, x) * rows.sum(0)[:, None]


SEQUENCES = [
    padding_mask, last_token, packed, split_indices, written, repeated, interleaved, windows, causal, relative, grid,
    asserted, times_a_number, first_rows, cut_at_the_end, written_apart, written_at_mask, filled_with_size,
    into_and_out_of_no_grad, added_at_places,
]  # fmt: skip


@pytest.mark.parametrize("function", SEQUENCES)
def test_batch_and_length_stay_free(function: Any) -> None:
    def inputs(b: int, n: int) -> tuple[Tensor, Tensor]:
        mask = torch.arange(n) < torch.arange(1, b + 1)[:, None] + 2
        return torch.randn(b, n, 4, dtype=torch.float64), mask

    module = Function(function)
    network = from_torch(module, inputs(2, 6))
    assert all({0, 1} <= set(axes) for axes in network.meta["free"].values())
    for size in ((2, 6), (3, 9), (1, 4)):
        assert_outputs_equal(network, module, inputs(*size), 1e-12)
        assert_gradients_equal(network, module, inputs(*size), 1e-12)


class Same(nn.Conv2d):
    """TensorFlow's SAME padding, as many published networks have it."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, k, s in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            pad = max((math.ceil(size / s) - 1) * s + k - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return F.conv2d(F.pad(x, pads), self.weight, self.bias, self.stride)


def test_sizes_with_long_formulas_cost_little() -> None:
    module = nn.Sequential(*(Same(3 if i == 0 else 4, 4, 3 + i % 2, 1 + i % 3) for i in range(12))).double().eval()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    torch.export.export(module, (x,))
    start = time.perf_counter()
    torch.export.export(module, (x,))
    plain = time.perf_counter() - start
    network = from_torch(module, x)
    assert time.perf_counter() - start < 20 * plain + 10  # it was hours
    assert network.meta["free"] == {"input": [0, 2, 3]}
    for height, width in ((64, 64), (63, 50), (17, 31), (128, 97)):
        assert_outputs_equal(network, module, (torch.randn(2, 3, height, width, dtype=torch.float64),), 1e-12)


class RoundedSizes(nn.Module):
    """Sizes by whatever arithmetic."""

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        rows, rest = divmod(h, 3)
        y = F.interpolate(x, size=(max(int(h * 0.75), 2), min(w, 2 * w // 3 + 1)), mode="bilinear")
        return F.pad(y, (0, -w % 4, rest, rows))[..., : math.floor(w / 2) + 1, :]


def test_sizes_by_any_arithmetic_stay_free() -> None:
    module, x = RoundedSizes(), torch.randn(2, 3, 12, 10, dtype=torch.float64)
    network = from_torch(module, x)
    assert network.meta["free"] == {"x": [0, 2, 3]}
    for height, width in ((12, 10), (13, 11), (20, 7), (9, 33)):
        x = torch.randn(1, 3, height, width, dtype=torch.float64)
        assert_outputs_equal(network, module, (x,), 1e-12)


def odd_are_different(x: Tensor) -> Tensor:
    return x + 1 if x.shape[1] % 2 else x * 2


def between_are_different(x: Tensor) -> Tensor:
    return x * 2 if 6 < x.shape[1] < 10 else x


def folded(x: Tensor) -> Tensor:
    y = x[:, None]
    return F.fold(F.unfold(y, 2), y.shape[2:], 2)


def as_many_as_there_are(x: Tensor) -> Tensor:
    return torch.stack([row * i for i, row in enumerate(x.unbind(1))]).sum(0)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (odd_are_different, "decides by"),
        (between_are_different, "decides by"),
        (folded, "col2im"),
        (as_many_as_there_are, "other operators run"),
    ],
)
def test_what_fixes_an_axis_is_said_with_its_line(function: Any, why: str) -> None:
    with pytest.warns(
        UserWarning, match=f"axe?i?s .*1.* of 'x0' .* fixed at 6.*: .*{why}.*test_free_axes.py"
    ) as warned:
        network = from_torch(Function(function), torch.randn(2, 6, 4))
    assert network.meta["free"]["x0"] == ([0] if function is folded else [0, 2])
    assert network.meta["notes"] == [str(warning.message) for warning in warned]


def test_what_the_module_itself_refuses_is_not_said() -> None:
    network = from_torch(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.randn(2, 3, 4))
    assert network.meta["free"] == {"input": [0]}
    assert "notes" not in network.meta
