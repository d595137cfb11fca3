"""Normalizations: hand-worked numbers, running statistics, plain formulas against fast kernels, extreme inputs."""

import math

import pytest
import torch
from torch import Tensor, nn

from blockprop.blocks import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError


def by_the_formula(
    x: Tensor, d_y: Tensor, weight: Tensor | None, epsilon: float, axes: list[int]
) -> tuple[Tensor, ...]:
    """(d_x, d_y · x̂): the derivation's last line in plain tensor arithmetic. weight must broadcast to x."""
    centered = x - x.mean(axes, keepdim=True)
    sigma = (centered.square().mean(axes, keepdim=True) + epsilon).sqrt()
    x_hat = centered / sigma
    d_x_hat = d_y if weight is None else d_y * weight
    mean, along = d_x_hat.mean(axes, keepdim=True), (d_x_hat * x_hat).mean(axes, keepdim=True)
    return (d_x_hat - mean - x_hat * along) / sigma, d_y * x_hat


def random_weights(block: Block) -> Block:
    for name, tensor in block.parameters.items():
        setattr(block, name, torch.randn(tensor.shape, dtype=torch.float64))
    return block


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(7, 3), (4, 3, 5), (4, 3, 5, 2)])
def test_batch_norm_kernel_is_the_plain_formula(shape: tuple[int, ...], affine: bool) -> None:
    block = random_weights((BatchNorm2d if len(shape) == 4 else BatchNorm1d)(3, affine=affine))
    x, d_y = torch.randn(2, *shape, dtype=torch.float64).unbind()
    axes = [axis for axis in range(len(shape)) if axis != 1]
    weight = block.weight.view(-1, *[1] * (len(shape) - 2)) if affine else None
    _, saved = block.forward(x, training=True)
    d_x, d_weights = by_the_formula(x, d_y, weight, block.epsilon, axes)
    torch.testing.assert_close(block.propagate(saved, d_y)[0], d_x)
    if affine:
        torch.testing.assert_close(block.gradients(saved, d_y)["weight"], d_weights.sum(axes))
        torch.testing.assert_close(block.gradients(saved, d_y)["bias"], d_y.sum(axes))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_row_norm_kernels_are_the_plain_formula(groups: int, affine: bool) -> None:
    """LayerNorm is one group of all channels with a weight for each element; InstanceNorm a group for each channel."""
    x, d_y = torch.randn(2, 3, 4, 5, 2, dtype=torch.float64).unbind()
    layer, group = (
        random_weights(LayerNorm((4, 5, 2), affine=affine)),
        random_weights(GroupNorm(groups, 4, affine=affine)),
    )
    per_channel = group.weight.view(4, 1, 1) if affine else None
    rows = (3, groups, 4 // groups, 5, 2)
    d_h = (d_y if per_channel is None else d_y * per_channel).view(rows)
    expected, _ = by_the_formula(x.view(rows), d_h, None, group.epsilon, [2, 3, 4])
    torch.testing.assert_close(group.propagate(group.forward(x)[1], d_y)[0], expected.view(x.shape))
    if groups == 1:
        expected, d_weights = by_the_formula(x, d_y, layer.weight, layer.epsilon, [1, 2, 3])
        torch.testing.assert_close(layer.propagate(layer.forward(x)[1], d_y)[0], expected)
        if affine:
            torch.testing.assert_close(layer.gradients(layer.forward(x)[1], d_y)["weight"], d_weights.sum(0))
    if groups == 4:
        instance = InstanceNorm(4, affine=affine)
        for name, tensor in group.parameters.items():
            setattr(instance, name, tensor)
        torch.testing.assert_close(
            instance.propagate(instance.forward(x)[1], d_y)[0], group.propagate(group.forward(x)[1], d_y)[0]
        )


def test_gradients_belong_to_the_seed_they_are_asked_for() -> None:
    """What propagate leaves behind is for the same d_y only: going back twice with other seeds gives each its own."""
    block = random_weights(BatchNorm2d(3))
    x, first, second = torch.randn(3, 4, 3, 5, 5, dtype=torch.float64).unbind()
    _, saved = block.forward(x, training=True)
    alone = block.gradients(saved, second)
    block.propagate(saved, first)
    after_another = block.gradients(saved, second)
    block.propagate(saved, second)
    for found in (after_another, block.gradients(saved, second), block.gradients(saved, second)):
        for name, expected in alone.items():
            torch.testing.assert_close(found[name], expected)


@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
def test_running_statistics_are_torchs_and_change_only_by_remember(momentum: float) -> None:
    block, theirs = BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3, momentum=momentum)
    for _ in range(3):
        x = 2 * torch.randn(4, 3, 5, 5) + 7
        before = {name: tensor.clone() for name, tensor in block.buffers.items()}
        y, saved = block.forward(x, training=True)
        block.gradients(saved, y)
        block.propagate(saved, y)
        assert all(torch.equal(tensor, before[name]) for name, tensor in block.buffers.items())
        block.remember(saved)
        torch.testing.assert_close(y, theirs(x).detach())
        torch.testing.assert_close(block.running_mean, theirs.running_mean)
        torch.testing.assert_close(block.running_variance, theirs.running_var)
    x = torch.randn(2, 3, 5, 5)
    y, saved = block.forward(x)
    block.remember(saved)
    torch.testing.assert_close(y, theirs.eval()(x).detach())
    torch.testing.assert_close(block.running_mean, theirs.running_mean)


def test_remember_changes_the_buffers_in_place() -> None:
    block = BatchNorm1d(2)
    mean, variance = block.running_mean, block.running_variance
    block.remember(block.forward(torch.tensor([[0.0, 1.0], [2.0, 5.0]]), training=True)[1])
    assert mean is block.running_mean
    # Means 1 and 3, unbiased variances 2 and 8, a tenth of the way from 0 and 1.
    torch.testing.assert_close(mean, torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(variance, torch.tensor([1.1, 1.7]))


def test_batch_norm_in_evaluation_by_hand() -> None:
    """(x − 1) / 2 · 6 + 5 = 3 x + 2."""
    block = BatchNorm1d(1, epsilon=1.0)
    block.running_mean, block.running_variance = torch.tensor([1.0]), torch.tensor([3.0])
    block.weight, block.bias = torch.tensor([6.0]), torch.tensor([5.0])
    y, saved = block.forward(torch.tensor([[0.0], [1.0], [4.0]]))
    torch.testing.assert_close(y, torch.tensor([[2.0], [5.0], [14.0]]))
    d_y = torch.tensor([[1.0], [2.0], [3.0]])
    torch.testing.assert_close(block.propagate(saved, d_y)[0], 3 * d_y)
    # x̂ = −1/2, 0, 3/2
    torch.testing.assert_close(
        block.gradients(saved, d_y), {"weight": torch.tensor([4.0]), "bias": torch.tensor([6.0])}
    )


@pytest.mark.parametrize("block", [LayerNorm(2, 0.5), GroupNorm(1, 2, 0.5), BatchNorm1d(1, 0.5)], ids=repr)
def test_two_numbers_by_hand(block: Block) -> None:
    """x = (0, √2): mean 1/√2, variance 1/2, σ = 1, x̂ = ∓1/√2. For d_y = (1, 0): d_x = (1 − 1/2 − 1/4, −1/2 + 1/4)."""
    shape, mode = ((2, 1), {"training": True}) if isinstance(block, BatchNorm1d) else ((1, 2), {})
    y, saved = block.forward(torch.tensor([0.0, math.sqrt(2)]).view(shape), **mode)
    torch.testing.assert_close(y, torch.tensor([-math.sqrt(0.5), math.sqrt(0.5)]).view(shape))
    d_y = torch.tensor([1.0, 0.0]).view(shape)
    torch.testing.assert_close(block.propagate(saved, d_y)[0], torch.tensor([0.25, -0.25]).view(shape))


def test_local_response_norm_by_hand() -> None:
    """size 2, alpha 2, beta 1: s_c = 1 + x_{c−1}² + x_c², so y = (1/2, 1/3, 2/6) for x = (1, 1, 2)."""
    block = LocalResponseNorm(2, 2.0, 1.0)
    y, saved = block.forward(torch.tensor([[1.0, 1.0, 2.0]]))
    torch.testing.assert_close(y, torch.tensor([[1 / 2, 1 / 3, 1 / 3]]))
    # y_3 = x_3 / (1 + x_2² + x_3²): ∂/∂x_2 = −2 · 2 · 1 / 36, ∂/∂x_3 = 1/6 − 2 · 4 / 36
    (d_x,) = block.propagate(saved, torch.tensor([[0.0, 0.0, 1.0]]))
    torch.testing.assert_close(d_x, torch.tensor([[0.0, -1 / 9, -1 / 18]]))


NORMS = [BatchNorm2d(4), LayerNorm((4, 8, 8)), GroupNorm(2, 4), InstanceNorm(4), LocalResponseNorm(5)]


@pytest.mark.parametrize("block", NORMS, ids=repr)
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1.0, 1e4])
def test_extreme_and_constant_inputs_give_finite_numbers(block: Block, size: float, offset: float) -> None:
    x = size * torch.randn(3, 4, 8, 8).clamp(-1, 1) + offset
    y, saved = block.forward(x, **({"training": True} if block.has_training_mode else {}))
    d_y = torch.randn(3, 4, 8, 8)
    for found in (y, *block.propagate(saved, d_y), *block.gradients(saved, d_y).values()):
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("block", NORMS[:4], ids=repr)
def test_an_offset_and_a_scale_change_nothing(block: Block) -> None:
    """In float32, 100 standard deviations off zero: two digits are lost to the rounding of x itself."""
    x = torch.randn(3, 4, 8, 8)
    mode = {"training": True} if block.has_training_mode else {}
    torch.testing.assert_close(block.forward(50 * x + 5000, **mode)[0], block.forward(x, **mode)[0], rtol=0, atol=1e-4)


def test_training_on_one_value_per_channel_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"two values or more per channel, came \(1, 3\)"):
        BatchNorm1d(3).forward(torch.zeros(1, 3), training=True)
    with pytest.raises(ShapeError, match="two values"):
        BatchNorm2d(3).forward(torch.zeros(0, 3, 4, 4), training=True)
    assert BatchNorm1d(3)(torch.zeros(1, 3)).shape == (1, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchNorm2d(0),
        lambda: BatchNorm2d(3, epsilon=0.0),
        lambda: BatchNorm2d(3, momentum=1.5),
        lambda: LayerNorm(()),
        lambda: LayerNorm((3, 0)),
        lambda: GroupNorm(2, 3),
        lambda: GroupNorm(0, 3),
        lambda: InstanceNorm(-1),
        lambda: LocalResponseNorm(0),
    ],
)
def test_nonsense_settings_are_refused(make) -> None:
    with pytest.raises(SettingError, match="must"):
        make()
