"""Every way to write one thing becomes the same blocks, with torch's outputs and gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from blockprop.errors import UnsupportedError
from blockprop.importers import from_torch
from tests.architectures import SPELLINGS, resized
from tests.architectures.shape_spellings import Arranged
from tests.importers.against_torch import (
    assert_gradients_equal,
    assert_outputs_equal,
    inputs_of,
    module_of,
    network_of,
    precision,
)

WRITTEN_OUT = {"relu_absolute"}
"""Half a sum with the absolute value: its derivative at 0 is 1/2, so it is no ReLU."""
RELUS = [name for name in SPELLINGS if name.startswith("relu_") and name not in WRITTEN_OUT]
CALLS = {"relu_ten_uses": 10, "relu_ten_uses_inplace": 10}
CALLS |= dict.fromkeys(("relu_dropped", "relu_forked", "relu_cloned"), 1)
CALLS |= dict.fromkeys(("relu_through_view", "relu_half_of_the_channels"), 1)


@pytest.mark.parametrize("name", SPELLINGS)
def test_outputs_and_gradients_equal_torchs(name: str) -> None:
    dtype, tolerance = precision(name)
    network, module, inputs = network_of(name, dtype), module_of(name, dtype), inputs_of(name, dtype)
    assert_outputs_equal(network, module, inputs, tolerance)
    assert_gradients_equal(network, module, inputs, tolerance)


ALIKE = ("relu_", "end_", "add_", "sub_", "mul_", "div_", "cat_", "float16", "bfloat16")
"""Beginnings of names of modules with the same free axes."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith(ALIKE) else name for name in SPELLINGS]
)
def test_free_axes_are_free(name: str) -> None:
    dtype, tolerance = precision(name)
    architecture, network, inputs = SPELLINGS[name], network_of(name, dtype), inputs_of(name, dtype)
    found = {
        axes[axis] for axes, free in zip(architecture.axes, network.meta["free"].values(), strict=True) for axis in free
    }
    # Height and width may vary by multiples, too, where the table says that they may not vary freely.
    assert found >= set(architecture.free)
    assert len(found) == len(architecture.free) or name in ("space_to_depth", "pixel_unshuffle", "flatten_view_numbers")
    other = {"batch": 3, "height": 9, "width": 11}
    inputs = resized(architecture, inputs, {axis: other[axis] for axis in architecture.free})
    generator = torch.Generator().manual_seed(2)
    inputs = tuple(torch.randn(x.shape, generator=generator).to(x.dtype) for x in inputs)  # without ties
    assert_outputs_equal(network, module_of(name, dtype), inputs, tolerance)
    assert_gradients_equal(network, module_of(name, dtype), inputs, tolerance)


@pytest.mark.parametrize("name", RELUS)
def test_each_call_of_relu_is_one_relu(name: str) -> None:
    network = network_of(name)
    relus = [node for node in network.nodes if isinstance(node.block, blocks.ReLU)]
    assert len(relus) == CALLS.get(name, 2)
    others = (blocks.Clamp, blocks.LeakyReLU, blocks.Max, blocks.Where, blocks.Mul)
    assert not any(isinstance(block, others) for block in network.blocks.values())


@pytest.mark.parametrize("name", RELUS)
def test_a_rule_for_relu_reaches_each_call(name: str) -> None:
    network, (x,) = network_of(name), inputs_of(name)
    seen: list[Any] = []

    def rule(block: Any, saved: Any, d_y: Tensor) -> Any:
        seen.append(block)
        return block.propagate(saved, d_y)

    trace = network.forward(x)
    network.backward(trace, torch.ones_like(trace[network.outputs[0]]), "inputs", rules={blocks.ReLU: rule})
    assert len(seen) == CALLS.get(name, 2)


def masked_rows(x: Tensor) -> Tensor:
    x = x.clone()
    x[x.mean((1, 2, 3)) > 0] = 0
    return x


def grid(x: Tensor) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")
    return x * (rows + columns).to(x.dtype) / x.shape[2]


def first_half(x: Tensor) -> Tensor:
    return torch.where(torch.arange(x.shape[2])[:, None] < x.shape[2] // 2, x, 0.0)


MORE: dict[str, Callable[[Tensor], Any]] = {
    # arithmetic of other types of number
    "int_floor": lambda x: x * (torch.arange(6) // 3 + torch.arange(49)[:6] // 7),
    "floor_exact": lambda x: x * torch.div(torch.full((6,), 49.0), 49, rounding_mode="floor"),
    "floor_exact_of_input": lambda x: x * torch.div(torch.full_like(x, 49.0), 49, rounding_mode="floor"),
    "trunc": lambda x: x + torch.div(7 * x, 2, rounding_mode="trunc"),
    "int_plus_float": lambda x: x * (torch.arange(6) + 0.5),
    "booleans": lambda x: x * ((x > 0.1) | ~(x < 0.5)) + x * torch.logical_and(x > 0, x),
    "float_power": lambda x: torch.float_power(x.abs(), 0.5),
    "number_to_power": lambda x: 2**x + x**-2.0,
    "erfc": lambda x: torch.special.erfc(x),
    # activations
    "activations": lambda x: F.hardshrink(x) + F.softshrink(x, 0.3) + F.tanhshrink(x) + F.softsign(x) + F.mish(x),
    "more_activations": lambda x: F.celu(x, 0.7) + F.selu(x) + F.elu(x, 0.6) + F.logsigmoid(x) + F.softmin(x, 1),
    "bounds_that_are_tensors": lambda x: torch.clamp(x, torch.tensor(-0.1), x.mean().abs()),
    "clamps": lambda x: torch.clip(x, -1, 0.2) + x.clamp(max=0.1),
    "not_a_number": lambda x: torch.where(torch.isnan(x), 0.0, x) + torch.nan_to_num(x),
    # indices
    "mask_of_rows": masked_rows,
    "constant_mask": lambda x: x[:, torch.tensor([True, False, True, True])],
    "two_indices": lambda x: x[:, [0, -1], [1, -2]],
    "index_from_the_end": lambda x: x[:, [-1, 0]],
    "take_along": lambda x: torch.take_along_dim(x, x.argsort(1), 1),
    "scatter": lambda x: x.scatter_add(2, torch.zeros_like(x, dtype=torch.long), x),
    "sorted": lambda x: x.sort(1)[0] * torch.arange(4.0).view(4, 1, 1) + x.topk(1, 1)[0],
    "largest": lambda x: x.max(-1, keepdim=True)[0] * x.argmax(1, keepdim=True),
    "windows": lambda x: x.unfold(2, 3, 1),
    "im2col": lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1),
    "one_hot": lambda x: x * F.one_hot(torch.arange(6), 6),
    # shapes
    "halves_of_a_free_axis": lambda x: torch.cat(x.chunk(2, 2)[::-1], 2),
    "size_as_number": lambda x: x / (x.shape[2] * x.shape[3]) + x.shape[2],
    "where_by_size": first_half,
    "grid": grid,
    "flattened_maps": lambda x: x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3]).mT.reshape(len(x) * 4, -1),
    "circular": lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    "rotated": lambda x: torch.rot90(x, 1, (2, 3)),
    "rolled_as_one": lambda x: torch.roll(x, 1),
    "diagonals": lambda x: torch.diag_embed(torch.diagonal(x, 0, 2, 3)),
    "single_picture": lambda x: F.pixel_shuffle(F.max_pool2d(x[0], 2), 2),
    "kronecker": lambda x: torch.kron(x[:, :1, :2, :2].sum(0), x),
    # products
    "batched_products": lambda x: torch.baddbmm(x[:, 0, :1, :1], x[:, 1], x[:, 2].mT, beta=0.5, alpha=2),
    "summed_products": lambda x: torch.addbmm(x[0, 0, :1, :1], x[:, 0], x[:, 1].mT, alpha=2),
    "einsum_with_spaces": lambda x: torch.einsum("b c h w, b d h w -> b c d", x, x),
    "vectors": lambda x: torch.outer(x.mean((1, 2, 3)), x.mean((0, 1, 2))) @ x[0, 0, 0],
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    # distances, statistics
    "cosine": lambda x: F.cosine_similarity(x, x.flip(1), dim=1),
    "pairwise": lambda x: F.pairwise_distance(x, x.flip(1)),
    "third_norm": lambda x: x.norm(p=3, dim=1),
    "statistics": lambda x: torch.std_mean(x, 1)[0] + torch.std_mean(x, 1)[1] + x.var(),
    "normalized": lambda x: F.local_response_norm(x, 3) + F.group_norm(x, 2) + F.instance_norm(x),
    "normalized_rows": lambda x: F.layer_norm(x, (6,), weight=torch.arange(6.0, dtype=x.dtype)) + F.rms_norm(x, (6,)),
    "products": lambda x: x.prod(1) + torch.logaddexp(x, 2 * x).sum(1),
    # resizing
    "resized_linear": lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    "resized_again": lambda x: F.interpolate(x, scale_factor=0.5, recompute_scale_factor=True),
    "resized_cubic": lambda x: F.interpolate(x, size=(9, 7), mode="bicubic"),
    "resized_exact": lambda x: F.interpolate(x, size=(2 * x.shape[2], 9), mode="nearest-exact"),
    "resized_smooth": lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear", antialias=True),
    "resized_area": lambda x: F.interpolate(x, size=(3, 3), mode="area"),
    # views
    "dropped_then_changed": lambda x: F.relu_(F.dropout(x, 0.5, training=False)) * x,
    "detached_factor": lambda x: x.detach() * x,
}


@pytest.mark.filterwarnings("ignore:ax.s .* fixed")
@pytest.mark.parametrize("name", MORE)
def test_more_operators_equal_torchs(name: str) -> None:
    module = Arranged(MORE[name]).double().eval()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    network = from_torch(module, x)
    sizes = [(2, 3, 6, 6), (3, 3, 7, 9), (2, 3, 8, 6)]
    for size in sizes:
        free = network.meta["free"]["x"]
        x = torch.randn([n if i in free else old for i, (n, old) in enumerate(zip(size, x.shape, strict=True))])
        assert_outputs_equal(network, module, (x.double(),), 1e-9)
        assert_gradients_equal(network, module, (x.double(),), 1e-8)


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("halves_of_a_free_axis", [0, 2, 3]),
        ("size_as_number", [0, 2, 3]),
        ("where_by_size", [0, 2, 3]),
        ("floor_exact_of_input", [0, 2, 3]),
        ("flattened_maps", [0, 2, 3]),
        ("resized_exact", [0, 2, 3]),
        ("resized_again", [0, 2, 3]),
        ("int_plus_float", [0, 2]),
        ("rolled_as_one", [0, 2, 3]),
    ],
)
def test_which_axes_stay_free(name: str, free: list[int]) -> None:
    network = from_torch(Arranged(MORE[name]).eval(), torch.randn(2, 3, 6, 6))
    assert network.meta["free"]["x"] == free


def written(view: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    view(x).mul_(2)
    return x


def test_a_view_follows_what_it_looks_at() -> None:
    def changed_below(x: Tensor) -> Tensor:
        first, rows = x[:, 0], x.permute(0, 2, 3, 1)
        x.mul_(2)
        return rows + first.sum((1, 2), keepdim=True)[..., None]

    module, x = Arranged(changed_below).double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    network = from_torch(module, x)
    assert_outputs_equal(network, module, (x,), 1e-9)
    assert_gradients_equal(network, module, (x,), 1e-9)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[:, 1],
        lambda x: x[:, -1],
        lambda x: x[:, 1:3, 2:],
        lambda x: x[..., -2:],
        lambda x: x.transpose(1, 3)[:, :2],
        lambda x: x.permute(0, 2, 3, 1)[..., 0],
        lambda x: x.flatten(2)[:, :, :5],
        lambda x: x.view(x.shape[0], 2, 2, 6, 6)[:, 1],
        lambda x: x.unsqueeze(1).squeeze(1),
    ],
)
def test_writing_through_a_view_changes_the_whole(view: Callable[[Tensor], Tensor]) -> None:
    module, x = Arranged(partial(written, view)).double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    network = from_torch(module, x)
    assert_outputs_equal(network, module, (x,), 1e-9)
    assert_gradients_equal(network, module, (x,), 1e-9)


def test_writing_through_other_views_is_refused() -> None:
    module = Arranged(partial(written, lambda x: x.swapaxes(1, 2))).eval()
    with pytest.raises(UnsupportedError, match=r"aten.mul_.Tensor: writing through a view of this kind"):
        from_torch(module, torch.randn(2, 3, 6, 6))
