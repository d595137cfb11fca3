"""The table of blocks and objectives. A row buys all the common checks of test_blocks.py; a block without one fails.

A row says three things: how to make the block, what goes in, and what torch gives for the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from blockprop.block import Block
from blockprop.objectives import (
    Objective,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)


@dataclass(frozen=True)
class Case:
    """make() -> block; inputs: shapes, or a function that makes them; reference(block, *inputs) by torch.

    wrong: shapes that the block must refuse with a ShapeError.
    training: run forward with training=True.
    batch: axis of the batch in every input; None if the inputs have none (then no empty batch, no batch of one).
    """

    make: Callable[[], Block]
    inputs: tuple[tuple[int, ...], ...] | Callable[[torch.Generator], tuple[Tensor, ...]]
    reference: Callable[..., Any]
    wrong: tuple[tuple[int, ...], ...] | None = None
    training: bool = False
    batch: int | None = 0
    title: str = ""

    def __str__(self) -> str:
        return self.title or repr(self.make())

    def tensors(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, ...]:
        """The inputs: kept apart from each other and from 0, so that none sits at a tie or a kink."""
        generator = torch.Generator().manual_seed(seed)
        if callable(self.inputs):
            made = self.inputs(generator)
            return tuple(x.to(dtype) if x.is_floating_point() else x for x in made)
        return tuple(spread(shape, generator).to(dtype) for shape in self.inputs)


def spread(shape: tuple[int, ...], generator: torch.Generator, low: float = -2.0, high: float = 2.0) -> Tensor:
    """Different numbers in random order, evenly spread over low…high and none of them 0."""
    count = 1
    for n in shape:
        count *= n
    values = torch.linspace(low, high, count + 2 + count % 2, dtype=torch.float64)[1:-1][:count]
    return values[torch.randperm(count, generator=generator)].view(shape)


def positive(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """One input of positive numbers, 0.2…3."""
    return lambda generator: (spread(shape, generator, 0.2, 3.0),)


def of_x(function: Callable[..., Tensor], *settings: Any, **more: Any) -> Callable[..., Tensor]:
    """A reference that needs nothing of the block: function(x, *settings)."""
    return lambda _block, x: function(x, *settings, **more)


def batch_norm(block: Any, x: Tensor, training: bool) -> Tensor:
    """torch's batch normalization with the block's weights, and its running statistics unless training."""
    statistics = (None, None) if training else (block.running_mean, block.running_variance)
    return F.batch_norm(x, *statistics, block.weight, block.bias, training, eps=block.epsilon)


CASES = [
    # Linear
    Case(lambda: blocks.Linear(4, 3), ((5, 4),), lambda b, x: F.linear(x, b.weight, b.bias), wrong=((5, 3),)),
    Case(lambda: blocks.Linear(4, 3, with_bias=False), ((5, 4),), lambda b, x: F.linear(x, b.weight)),
    Case(lambda: blocks.Linear(4, 3), ((2, 5, 4),), lambda b, x: F.linear(x, b.weight, b.bias), title="Linear, 3 axes"),
    Case(
        lambda: blocks.Embedding(5, 3),
        lambda generator: (torch.randint(0, 5, (4, 3), generator=generator),),
        lambda b, x: F.embedding(x, b.weight),
        wrong=((4, 3),),
    ),
    # Pointwise
    Case(blocks.ReLU, ((3, 4),), of_x(F.relu)),
    Case(blocks.ReLU, ((2, 3, 2, 2),), of_x(F.relu), title="ReLU, 4 axes"),
    Case(blocks.LeakyReLU, ((3, 4),), of_x(F.leaky_relu, 0.01)),
    Case(lambda: blocks.LeakyReLU(0.2), ((2, 3, 2, 2),), of_x(F.leaky_relu, 0.2)),
    Case(blocks.PReLU, ((3, 4),), lambda b, x: F.prelu(x, b.weight)),
    Case(lambda: blocks.PReLU(3), ((4, 3),), lambda b, x: F.prelu(x, b.weight), wrong=((4, 2),)),
    Case(
        lambda: blocks.PReLU(3),
        ((2, 3, 2, 2),),
        lambda b, x: F.prelu(x, b.weight),
        wrong=((2, 2, 3, 3),),
        title="PReLU(3), 4 axes",
    ),
    Case(blocks.ELU, ((3, 4),), of_x(F.elu)),
    Case(lambda: blocks.ELU(0.5), ((2, 3, 2, 2),), of_x(F.elu, 0.5)),
    Case(blocks.SELU, ((3, 4),), of_x(F.selu)),
    Case(blocks.GELU, ((3, 4),), of_x(F.gelu)),
    Case(lambda: blocks.GELU("tanh"), ((2, 3, 2, 2),), of_x(F.gelu, approximate="tanh")),
    Case(blocks.SiLU, ((3, 4),), of_x(F.silu)),
    Case(blocks.Sigmoid, ((3, 4),), of_x(torch.sigmoid)),
    Case(blocks.Tanh, ((3, 4),), of_x(torch.tanh)),
    Case(blocks.Softplus, ((3, 4),), of_x(F.softplus)),
    Case(lambda: blocks.Softplus(2.0, 3.0), ((2, 3, 2, 2),), of_x(F.softplus, 2.0, 3.0)),
    Case(  # torch's own F.hardsigmoid is no oracle in float64: its backward rounds 1/6 to float32
        blocks.HardSigmoid, lambda g: (spread((3, 4), g, -5, 5),), of_x(lambda x: F.relu6(x + 3) / 6)
    ),
    Case(blocks.HardSwish, lambda g: (spread((3, 4), g, -5, 5),), of_x(F.hardswish)),
    Case(lambda: blocks.Clamp(0.0, 6.0), lambda g: (spread((3, 5), g, -4, 9),), of_x(F.relu6)),
    Case(lambda: blocks.Clamp(-1.0), ((2, 3, 2, 2),), of_x(torch.clamp, -1.0)),
    Case(lambda: blocks.Clamp(high=0.5), ((3, 4),), of_x(torch.clamp, max=0.5)),
    Case(blocks.Exp, ((3, 4),), of_x(torch.exp)),
    Case(blocks.Log, positive(3, 4), of_x(torch.log)),
    Case(blocks.Sqrt, positive(3, 4), of_x(torch.sqrt)),
    Case(lambda: blocks.Pow(3), ((3, 4),), of_x(torch.pow, 3)),
    Case(lambda: blocks.Pow(-0.7), positive(3, 4), of_x(torch.pow, -0.7)),
    Case(lambda: blocks.Pow(0), ((3, 4),), of_x(torch.pow, 0)),
    Case(blocks.Abs, ((3, 4),), of_x(torch.abs)),
    Case(blocks.Softmax, ((3, 4),), of_x(torch.softmax, 1), wrong=((3,),)),
    Case(blocks.Softmax, ((2, 3, 2, 2),), of_x(torch.softmax, 1), wrong=((3,),), title="Softmax, 4 axes"),
    Case(lambda: blocks.Softmax(-1), ((2, 3, 2, 2),), of_x(torch.softmax, -1)),
    Case(blocks.LogSoftmax, ((3, 4),), of_x(torch.log_softmax, 1), wrong=((3,),)),
    Case(lambda: blocks.LogSoftmax(-1), ((2, 3, 4),), of_x(torch.log_softmax, -1)),
    Case(blocks.Dropout, ((3, 4),), of_x(torch.clone), title="Dropout, evaluation"),
    Case(blocks.Dropout, ((3, 5),), lambda b, x: x * b.mask(x), training=True, title="Dropout, training"),
    Case(lambda: blocks.Dropout(0.2), ((2, 3, 2, 2),), lambda b, x: x * b.mask(x), training=True),
    Case(lambda: blocks.Dropout(0.0), ((3, 4),), of_x(torch.clone), training=True),
    Case(lambda: blocks.Dropout(1.0), ((3, 4),), of_x(torch.mul, 0), training=True),
    Case(lambda: blocks.Affine(2.0, -1.0), ((5, 4),), of_x(lambda x: 2 * x - 1)),
    Case(
        lambda: blocks.Affine((0.5, 2.0, 3.0), (1.0, 0.0, -1.0)),
        ((2, 3, 4, 2),),
        of_x(lambda x: x * torch.tensor([0.5, 2, 3]).view(-1, 1, 1) + torch.tensor([1.0, 0, -1]).view(-1, 1, 1)),
        wrong=((2, 4, 4, 2),),
    ),
    # Normalizing
    *(
        Case(
            partial(make, 3, affine=affine),
            (shape,),
            partial(batch_norm, training=training),
            wrong=((5, 2, *shape[2:]),),
            training=training,
            title=f"{make.__name__}, {len(shape)} axes, {training=}, {affine=}",
        )
        for make, shape in [
            (blocks.BatchNorm1d, (6, 3)),
            (blocks.BatchNorm1d, (3, 3, 4)),
            (blocks.BatchNorm2d, (3, 3, 2, 4)),
        ]
        for training in (True, False)
        for affine in (True, False)
    ),
    Case(lambda: blocks.BatchNorm2d(2), ((4, 2, 3, 3),), partial(batch_norm, training=False), wrong=((4, 2),)),
    Case(
        lambda: blocks.LayerNorm(4),
        ((3, 4),),
        lambda b, x: F.layer_norm(x, (4,), b.weight, b.bias),
        wrong=((4, 3),),
    ),
    Case(
        lambda: blocks.LayerNorm((3, 2, 4), epsilon=0.1),
        ((2, 3, 2, 4),),
        lambda b, x: F.layer_norm(x, (3, 2, 4), b.weight, b.bias, 0.1),
        wrong=((2, 4),),
    ),
    Case(lambda: blocks.LayerNorm([4], affine=False), ((2, 3, 4),), of_x(F.layer_norm, (4,))),
    Case(
        lambda: blocks.GroupNorm(2, 6),
        ((3, 6),),
        lambda b, x: F.group_norm(x, 2, b.weight, b.bias),
        wrong=((3, 4),),
    ),
    Case(
        lambda: blocks.GroupNorm(2, 4, epsilon=0.1),
        ((2, 4, 2, 3),),
        lambda b, x: F.group_norm(x, 2, b.weight, b.bias, 0.1),
        wrong=((2, 2, 2, 3),),
    ),
    Case(lambda: blocks.GroupNorm(1, 4, affine=False), ((3, 4, 2),), of_x(F.group_norm, 1)),
    Case(lambda: blocks.InstanceNorm(3), ((2, 3, 2, 4),), of_x(F.instance_norm), wrong=((2, 3, 1, 1),)),
    Case(
        lambda: blocks.InstanceNorm(3, 0.1, affine=True),
        ((2, 3, 5),),
        lambda b, x: F.instance_norm(x, weight=b.weight, bias=b.bias, eps=0.1),
        wrong=((2, 2, 5),),
    ),
    Case(
        lambda: blocks.LocalResponseNorm(3, 0.5, 0.6, 2.0),
        ((2, 5, 2, 2),),
        of_x(F.local_response_norm, 3, 0.5, 0.6, 2.0),
        wrong=((5,),),
    ),
    Case(
        lambda: blocks.LocalResponseNorm(4, 0.5),
        ((3, 6, 2),),
        of_x(F.local_response_norm, 4, 0.5),
    ),
    Case(
        lambda: blocks.LocalResponseNorm(9, 0.5),
        ((2, 3, 2, 2),),
        of_x(F.local_response_norm, 9, 0.5),
    ),
    # Convolution
    *[
        Case(
            lambda given=given: blocks.Conv1d(*given[0], **given[1]),
            ((2, given[0][0], 9),),
            lambda b, x: F.conv1d(x, b.weight, b.bias, b.stride, b.padding, b.dilation, b.groups),
            wrong=((2, given[0][0] + 1, 9),),
        )
        for given in (
            ((2, 3, 3), {}),
            ((2, 3, 2), {"stride": 3, "with_bias": False}),
            ((2, 4, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}),
            ((2, 3, 1), {}),
        )
    ],
    *[
        Case(
            lambda given=given: blocks.Conv2d(*given[0], **given[1]),
            ((2, given[0][0], 6, 5),),
            lambda b, x: F.conv2d(x, b.weight, b.bias, b.stride, b.padding, b.dilation, b.groups),
            wrong=((2, given[0][0], 6),),
        )
        for given in (
            ((2, 3, 3), {}),
            ((2, 3, 3), {"padding": 1}),
            ((2, 3, 3), {"padding": 1, "with_bias": False}),
            ((2, 3, 1), {}),
            ((2, 3, 1), {"stride": 2}),
            ((2, 3, 3), {"stride": 2}),
            ((2, 3, 2), {"stride": 3}),
            ((2, 3, 2), {"stride": 3, "padding": 1}),
            ((2, 3, (3, 2)), {"stride": (2, 1), "padding": (0, 1)}),
            ((2, 3, (1, 5)), {"padding": (0, 2)}),
            ((2, 3, 2), {"dilation": 2}),
            ((2, 3, 3), {"stride": 2, "padding": 3, "dilation": (2, 1)}),
            ((2, 3, 1), {"padding": 2}),
            ((4, 4, 3), {"padding": 1, "groups": 4}),
            ((2, 4, 3), {"stride": 2, "padding": 1, "groups": 2}),
            ((4, 2, 2), {"groups": 2}),
            ((1, 3, (6, 5)), {}),
        )
    ],
    Case(
        lambda: blocks.Conv2d(2, 3, 3),
        ((2, 2, 6, 5),),
        lambda b, x: F.conv2d(x, b.weight, b.bias),
        wrong=((2, 2, 6, 2),),
        title="Conv2d, smaller than the kernel",
    ),
    *[
        Case(
            lambda given=given: blocks.Conv3d(*given[0], **given[1]),
            ((2, given[0][0], 3, 4, 3),),
            lambda b, x: F.conv3d(x, b.weight, b.bias, b.stride, b.padding, b.dilation, b.groups),
            wrong=((2, given[0][0], 3, 4),),
        )
        for given in (
            ((2, 2, 2), {}),
            ((2, 2, (1, 3, 2)), {"stride": (2, 1, 2), "padding": 1}),
            ((2, 4, 2), {"padding": 1, "dilation": 2, "groups": 2, "with_bias": False}),
        )
    ],
    *[
        Case(
            lambda given=given: blocks.ConvTranspose2d(*given[0], **given[1]),
            ((2, given[0][0], 3, 4),),
            lambda b, x: F.conv_transpose2d(
                x, b.weight, b.bias, b.stride, b.padding, b.output_padding, b.groups, b.dilation
            ),
            wrong=((2, given[0][0] + 1, 3, 4),),
        )
        for given in (
            ((2, 3, 2), {}),
            ((2, 3, 2), {"stride": 2, "with_bias": False}),
            ((2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
            ((2, 3, (3, 2)), {"stride": (3, 1), "padding": (1, 0), "output_padding": (2, 0)}),
            ((2, 3, 2), {"stride": 1, "dilation": 2, "output_padding": 1}),
            ((2, 4, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}),
            ((4, 4, 3), {"padding": 1, "groups": 4}),
        )
    ],
    # Pooling
    *[
        Case(
            lambda given=given: blocks.MaxPool1d(**given),
            ((2, 3, 9),),
            lambda b, x: F.max_pool1d(x, b.kernel, b.stride, b.padding, b.dilation, b.ceil_mode),
            wrong=((2, 3, 9, 9),),
        )
        for given in (
            {"kernel": 3},
            {"kernel": 2, "ceil_mode": True},
            {"kernel": 3, "stride": 2, "padding": 1},
            {"kernel": 3, "stride": 1, "dilation": 2},
        )
    ],
    *[
        Case(
            lambda given=given: blocks.MaxPool2d(**given),
            ((4, 1, 6, 6),),
            lambda b, x: F.max_pool2d(x, b.kernel, b.stride, b.padding, b.dilation, b.ceil_mode),
            wrong=((4, 6, 6),),
        )
        for given in (
            {"kernel": 2},
            {"kernel": 3},
            {"kernel": (3, 2)},
            {"kernel": 4},
            {"kernel": 4, "ceil_mode": True},
            {"kernel": 3, "stride": 2},
            {"kernel": 3, "stride": 2, "ceil_mode": True},
            {"kernel": 3, "stride": 2, "padding": 1},
            {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
            {"kernel": 2, "stride": (1, 3), "padding": (0, 1)},
            {"kernel": 2, "stride": 1, "dilation": 3},
            {"kernel": 2, "stride": 3},
            {"kernel": 1, "stride": 2},
        )
    ],
    Case(
        lambda: blocks.MaxPool2d(3),
        ((3, 2, 6, 4),),
        lambda _, x: F.max_pool2d(x, 3),
        wrong=((3, 2, 6, 2),),
        title="MaxPool2d, window too large",
    ),
    *[
        Case(
            lambda given=given: blocks.AvgPool1d(**given),
            ((2, 3, 9),),
            lambda b, x: F.avg_pool1d(x, b.kernel, b.stride, b.padding, b.ceil_mode, b.count_include_pad),
            wrong=((2, 9),),
        )
        for given in (
            {"kernel": 3},
            {"kernel": 2, "ceil_mode": True},
            {"kernel": 4, "stride": 3, "padding": 2, "ceil_mode": True},
            {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        )
    ],
    *[
        Case(
            lambda given=given: blocks.AvgPool2d(**given),
            ((3, 1, 6, 7),),
            lambda b, x: F.avg_pool2d(x, b.kernel, b.stride, b.padding, b.ceil_mode, b.count_include_pad),
            wrong=((3, 6, 7),),
        )
        for given in (
            {"kernel": 2},
            {"kernel": (3, 7)},
            {"kernel": 1},
            {"kernel": 1, "stride": 3},
            {"kernel": 2, "stride": 3},
            {"kernel": 3, "stride": 1},
            {"kernel": 3, "stride": (2, 1), "padding": (1, 0)},
            {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
            {"kernel": 4, "ceil_mode": True},
            {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
            {"kernel": 4, "stride": 3, "padding": 2, "ceil_mode": True},
            {"kernel": 4, "stride": 3, "padding": 2, "ceil_mode": True, "count_include_pad": False},
            {"kernel": 2, "stride": 4, "padding": 1, "ceil_mode": True},
        )
    ],
    Case(blocks.GlobalAvgPool, ((2, 3, 4, 3),), lambda _, x: x.mean((2, 3)), wrong=((2, 3),)),
    Case(blocks.GlobalAvgPool, ((2, 3, 4),), lambda _, x: x.mean(2), title="GlobalAvgPool, 1 axis"),
    Case(blocks.GlobalMaxPool, ((2, 3, 4, 3),), lambda _, x: x.amax((2, 3)), wrong=((2, 3, 0, 4),)),
    Case(blocks.GlobalMaxPool, ((2, 3, 2, 3, 2),), lambda _, x: x.amax((2, 3, 4)), title="GlobalMaxPool, 3 axes"),
    *[
        Case(
            lambda block=block, size=size: block(size),
            ((2, 2, 7, 5),),
            lambda b, x, reference=reference: reference(x, b.output_size),
            wrong=((2, 7, 5),),
        )
        for block, reference in (
            (blocks.AdaptiveAvgPool2d, F.adaptive_avg_pool2d),
            (blocks.AdaptiveMaxPool2d, F.adaptive_max_pool2d),
        )
        for size in (1, (3, 2), (7, 5), (1, 5), (9, 8))
    ],
    # Reshaping
    Case(blocks.Flatten, ((3, 2, 4, 2),), lambda _, x: x.flatten(1), wrong=((3,),)),
    Case(lambda: blocks.Flatten(2), ((3, 2, 4, 2),), lambda _, x: x.flatten(2)),
    Case(lambda: blocks.Flatten(-2), ((3, 2, 4, 2),), lambda _, x: x.flatten(-2)),
    Case(lambda: blocks.Flatten(0), ((3, 2, 4),), lambda _, x: x.flatten(), batch=None),
    Case(lambda: blocks.Reshape((4, 3)), ((2, 6, 2),), lambda _, x: x.reshape(-1, 4, 3), wrong=((2, 6, 3),)),
    Case(lambda: blocks.Reshape([3, -1]), ((2, 6, 2),), lambda _, x: x.reshape(-1, 3, 4), wrong=((2, 4),)),
    Case(lambda: blocks.Transpose((0, 2, 1)), ((2, 3, 4),), lambda _, x: x.permute(0, 2, 1), wrong=((2, 3),)),
    Case(lambda: blocks.Transpose([0, 2, 3, 1]), ((2, 3, 4, 2),), lambda _, x: x.permute(0, 2, 3, 1)),
    Case(lambda: blocks.Transpose((0, -1, 1, 2)), ((2, 3, 4, 2),), lambda _, x: x.permute(0, 3, 1, 2)),
    Case(lambda: blocks.Transpose((1, 2, 0)), ((2, 3, 4),), lambda _, x: x.permute(1, 2, 0), batch=None),
    Case(lambda: blocks.Slice(1, 1, 3), ((2, 5, 3),), lambda _, x: x[:, 1:3], wrong=((2,),)),
    Case(lambda: blocks.Slice(2, step=2), ((2, 5, 3),), lambda _, x: x[:, :, ::2]),
    Case(lambda: blocks.Slice(-1, -4, -1, 2), ((2, 3, 7),), lambda _, x: x[..., -4:-1:2]),
    Case(lambda: blocks.Slice(-2, 1), ((2, 5, 3),), lambda _, x: x[:, 1:]),
    Case(lambda: blocks.Slice(1, 4, 2), ((2, 5, 3),), lambda _, x: x[:, 4:2], title="Slice, empty"),
    Case(lambda: blocks.Slice(0, 1, 9), ((4, 3),), lambda _, x: x[1:9], batch=None),
    *[
        Case(
            lambda given=given: blocks.Pad(*given),
            ((2, 2, 4, 5),),
            lambda b, x: F.pad(x, b.pads, b.mode, b.value if b.mode == "constant" else None),
            wrong=wrong,
        )
        for given, wrong in (
            (((1, 2),), None),
            (((0, 0, 2, 1), "constant", 0.5), None),
            (((-1, 2, 1, -2),), ((2, 2, 0, 5),)),
            (((1, 0, 0, 2, 1, 1),), ((2, 2),)),
            (((1, 2, 3, 1), "reflect"), ((2, 2, 3, 5),)),
            (((4, 4, 3, 3), "reflect"), ((2, 2, 4, 4),)),
            (((0, 1, 0, 0), "reflect"), None),
            (((1, 2, 3, 1), "replicate"), ((2, 2, 0, 5),)),
            (((0, 6, 7, 0), "replicate"), None),
            (((1, 2, 3, 1), "circular"), ((2, 2, 2, 5),)),
            (((5, 5, 4, 0), "circular"), None),
        )
    ],
    Case(lambda: blocks.Pad((2, 1), "reflect"), ((2, 3, 4),), lambda _, x: F.pad(x, (2, 1), "reflect"), wrong=((),)),
    Case(
        lambda: blocks.Pad((1, 1, 1, 0, 0, 1), "replicate"),
        ((2, 2, 2, 3, 2),),
        lambda b, x: F.pad(x, b.pads, "replicate"),
    ),
    Case(lambda: blocks.Split((1, 3, 2)), ((2, 6, 3),), lambda _, x: x.split((1, 3, 2), 1), wrong=((2, 5, 3),)),
    Case(lambda: blocks.Split([2, 2], -1), ((3, 2, 4),), lambda _, x: x.split(2, -1)),
    Case(lambda: blocks.Split((2, 0, 1), axis=2), ((3, 2, 3),), lambda _, x: x.split((2, 0, 1), 2)),
    Case(lambda: blocks.Split((3,)), ((2, 3),), lambda _, x: x, title="Split, one part"),
    Case(lambda: blocks.Sum(1), ((2, 3, 4),), lambda _, x: x.sum(1), wrong=((2,),)),
    Case(lambda: blocks.Sum((1, -1)), ((2, 3, 4, 2),), lambda _, x: x.sum((1, -1)), wrong=((2, 3),)),
    Case(lambda: blocks.Sum([2, 1], keep=True), ((2, 3, 4),), lambda _, x: x.sum((1, 2), keepdim=True)),
    Case(lambda: blocks.Sum(0), ((2, 3, 4),), lambda _, x: x.sum(0), batch=None),
    Case(lambda: blocks.Mean(-1), ((2, 3, 4),), lambda _, x: x.mean(-1), wrong=((),)),
    Case(lambda: blocks.Mean((3, 2)), ((2, 3, 4, 2),), lambda _, x: x.mean((2, 3)), wrong=((2, 3, 4),)),
    Case(lambda: blocks.Mean([-1, 1], keep=True), ((2, 3, 4),), lambda _, x: x.mean((1, 2), keepdim=True)),
    # Image
    *[
        Case(
            lambda given=given: blocks.Resize(**given),
            ((2, 2, 4, 6),),
            lambda b, x: F.interpolate(x, b.size, b.scale, b.mode, b.align_corners if b.mode == "bilinear" else None),
            wrong=((2, 4, 6),),
        )
        for given in (
            {"scale": 2},
            {"scale": [3, 1]},
            {"scale": 1.5},
            {"scale": (0.5, 2.3)},
            {"size": (8, 12)},
            {"size": [7, 4]},
            {"size": (4, 6)},
            {"size": 5},
            {"scale": 2, "mode": "bilinear"},
            {"scale": 1.7, "mode": "bilinear"},
            {"scale": (0.5, 0.4), "mode": "bilinear"},
            {"size": (2, 9), "mode": "bilinear"},
            {"size": 1, "mode": "bilinear"},
            {"scale": 2, "mode": "bilinear", "align_corners": True},
            {"size": (9, 3), "mode": "bilinear", "align_corners": True},
            {"size": 1, "mode": "bilinear", "align_corners": True},
        )
    ],
    Case(
        lambda: blocks.Resize(scale=0.4),
        ((2, 2, 4, 6),),
        lambda _, x: F.interpolate(x, scale_factor=0.4),
        wrong=((2, 2, 2, 6),),
        title="Resize, nothing left",
    ),
    # Joining
    Case(blocks.Concat, ((2, 3, 2), (2, 1, 2), (2, 2, 2)), lambda _, *x: torch.cat(x, 1), wrong=((2, 3, 2), (2, 1, 3))),
    Case(lambda: blocks.Concat(-1), ((2, 3), (2, 4)), lambda _, *x: torch.cat(x, -1), wrong=((2, 3), (3, 3))),
    Case(lambda: blocks.Concat(0), ((2, 3), (1, 3)), lambda _, *x: torch.cat(x), wrong=((2, 3), (2,)), batch=None),
    Case(blocks.Concat, ((2, 3),), lambda _, x: x, wrong=((2,),), title="Concat of one"),
    *[
        Case(
            block,
            (a, b),
            lambda _, *x, reference=reference: reference(*x),
            wrong=((2, 3), (2, 4)),
            batch=0 if len(a) == len(b) and a[0] == b[0] else None,
            title=f"{block.__name__}, {a} and {b}",
        )
        for block, reference in (
            (blocks.Add, torch.add),
            (blocks.Sub, torch.sub),
            (blocks.Mul, torch.mul),
            (blocks.Div, torch.div),
            (blocks.Max, torch.maximum),
            (blocks.Min, torch.minimum),
        )
        for a, b in (
            ((3, 4), (3, 4)),
            ((2, 3, 4), (2, 3, 1)),
            ((2, 1, 4), (2, 3, 1)),
            ((4,), (2, 3, 4)),
            ((3, 1), (2, 1, 4)),
            ((2, 3), ()),
            ((1,), (1, 1, 3)),
        )
    ],
    Case(
        blocks.Add, ((2, 3), (2, 3), (2, 3)), lambda _, *x: sum(x), wrong=((2, 3), (2, 3), (4,)), title="Add of three"
    ),
    Case(blocks.Add, ((2, 1), (2, 3), (1, 2, 1)), lambda _, *x: sum(x), title="Add of three, broadcast", batch=None),
    *[
        Case(
            blocks.MatMul,
            (a, b),
            lambda _, a, b: a @ b,
            wrong=((3, 4), (3, 4)),
            batch=0 if len(a) == len(b) > 2 and a[0] == b[0] else None,
            title=f"MatMul, {a} and {b}",
        )
        for a, b in (
            ((3, 4), (4, 2)),
            ((2, 3, 4), (2, 4, 2)),
            ((2, 3, 4), (4, 2)),
            ((3, 4), (2, 4, 2)),
            ((2, 3, 4), (1, 4, 2)),
            ((1, 3, 4), (2, 4, 2)),
            ((2, 1, 3, 2), (2, 3, 2, 4)),
            ((3, 3, 2), (2, 1, 2, 4)),
        )
    ],
    Case(
        blocks.MatMul,
        ((2, 3, 4), (2, 4, 2)),
        lambda _, x, y: x @ y,
        wrong=((2, 3, 4), (3, 4, 2)),
        title="MatMul, batches",
    ),
    Case(blocks.MatMul, ((2, 3, 4), (2, 4, 2)), lambda _, x, y: x @ y, wrong=((4,), (4, 2)), title="MatMul, a vector"),
]


@dataclass(frozen=True)
class ObjectiveCase:
    """An objective; made(generator) -> its output and target; reference(y, target) by torch."""

    objective: Objective
    made: Callable[[torch.Generator], tuple[Tensor, Tensor]]
    reference: Callable[[Tensor, Tensor], Tensor]

    def __str__(self) -> str:
        return repr(self.objective)


def classes(*shape: int, count: int = 4) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Scores (n, count, …) and class numbers (n, …)."""

    def made(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        y = spread((shape[0], count, *shape[1:]), generator)
        return y, torch.randint(count, shape, generator=generator)

    return made


def probabilities(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Probabilities of 4 classes, and the true classes."""
    y, target = classes(6)(generator)
    return y.softmax(1), target


def distributions(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Probabilities of 4 classes, and true distributions over them."""
    y, other = classes(6)(generator)[0], classes(6)(generator)[0]
    return y.softmax(1), other.flip(0).softmax(1)


def numbers(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Outputs and targets whose differences are never 0 or 1 in size."""
    return lambda generator: (spread(shape, generator), spread(shape, generator, -0.55, 0.45))


def answers(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Logits and answers 0 or 1."""
    return lambda generator: (spread(shape, generator), torch.randint(2, shape, generator=generator).double())


WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)

OBJECTIVES = [
    ObjectiveCase(cross_entropy(), classes(6), F.cross_entropy),
    ObjectiveCase(cross_entropy(), classes(3, 5), F.cross_entropy),
    ObjectiveCase(cross_entropy(), distributions, F.cross_entropy),
    ObjectiveCase(cross_entropy(WEIGHTS), classes(6), lambda y, t: F.cross_entropy(y, t, WEIGHTS)),
    ObjectiveCase(
        cross_entropy(label_smoothing=0.1), classes(6), lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1)
    ),
    ObjectiveCase(
        cross_entropy(WEIGHTS, 0.2), classes(6), lambda y, t: F.cross_entropy(y, t, WEIGHTS, label_smoothing=0.2)
    ),
    ObjectiveCase(negative_log_likelihood(), probabilities, lambda p, t: F.nll_loss(p.log(), t)),
    ObjectiveCase(negative_log_likelihood(WEIGHTS), probabilities, lambda p, t: F.nll_loss(p.log(), t, WEIGHTS)),
    ObjectiveCase(negative_log_likelihood(), distributions, lambda p, r: -(r * p.log()).sum(1).mean()),
    ObjectiveCase(mean_squared_error(), numbers(5, 3), F.mse_loss),
    ObjectiveCase(huber(), numbers(5, 3), F.huber_loss),
    ObjectiveCase(huber(0.3), numbers(5, 3), lambda y, t: F.huber_loss(y, t, delta=0.3)),
    ObjectiveCase(binary_cross_entropy(), answers(5, 3), F.binary_cross_entropy_with_logits),
    ObjectiveCase(
        binary_cross_entropy(positive_weight=3.0),
        answers(5, 3),
        lambda y, t: F.binary_cross_entropy_with_logits(y, t, pos_weight=torch.tensor(3.0)),
    ),
    ObjectiveCase(
        binary_cross_entropy(label_smoothing=0.1),
        answers(5, 3),
        lambda y, t: F.binary_cross_entropy_with_logits(y, t * 0.9 + 0.05),
    ),
    ObjectiveCase(
        2 * mean_squared_error() - 0.5 * huber(),
        numbers(5, 3),
        lambda y, t: 2 * F.mse_loss(y, t) - 0.5 * F.huber_loss(y, t),
    ),
]
