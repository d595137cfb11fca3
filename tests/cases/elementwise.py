"""Rows of linear, pointwise and normalizing blocks."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x, positive, spread


def batch_norm(block: Any, x: Tensor, training: bool) -> Tensor:
    """torch's batch normalization with the block's weights, and its running statistics unless training."""
    statistics = (None, None) if training else (block.running_mean, block.running_variance)
    return F.batch_norm(x, *statistics, block.weight, block.bias, training, eps=block.epsilon)


def hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    """ONNX's, by its definition."""
    return (alpha * x + beta).clamp(0, 1)


def shrink(x: Tensor, bias: float, lambd: float) -> Tensor:
    """ONNX's, by its definition."""
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0))


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
    Case(
        lambda: blocks.Embedding(5, 3, padding=2),
        lambda _: (torch.tensor([[0, 1], [4, 3], [4, 4]]),),
        lambda b, x: F.embedding(x, b.weight, padding_idx=2),
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
    *[
        Case(
            lambda shape=shape: blocks.PReLU(shape=shape),
            ((3, 2, 4),),
            lambda b, x: torch.where(x > 0, x, b.weight * x),
            wrong=((3, 2, 5, 3),),
            batch=None if shape == (3, 1, 1) else 0,
        )
        for shape in ((2, 1), [1, 2, 4], (3, 1, 1))
    ],
    Case(lambda: blocks.PReLU(shape=()), ((3, 2),), lambda b, x: F.prelu(x, b.weight.view(1)), title="PReLU, no axis"),
    Case(blocks.ELU, ((3, 4),), of_x(F.elu)),
    Case(lambda: blocks.ELU(0.5), ((2, 3, 2, 2),), of_x(F.elu, 0.5)),
    Case(blocks.CELU, ((3, 4),), of_x(F.celu)),
    Case(  # torch's own F.celu is no oracle in float64: its backward rounds 1 / alpha to float32
        lambda: blocks.CELU(0.4), ((2, 3, 2, 2),), of_x(lambda x: torch.where(x > 0, x, 0.4 * torch.expm1(x / 0.4)))
    ),
    Case(blocks.SELU, ((3, 4),), of_x(F.selu)),
    Case(lambda: blocks.SELU(0.5, 2.0), ((3, 4),), of_x(lambda x: 2 * F.elu(x, 0.5))),
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
    Case(lambda: blocks.HardSigmoid(0.2, 0.4), lambda g: (spread((3, 4), g, -5, 5),), of_x(hard_sigmoid, 0.2, 0.4)),
    Case(lambda: blocks.HardSigmoid(-0.5), lambda g: (spread((3, 4), g, -5, 5),), of_x(hard_sigmoid, -0.5, 0.5)),
    Case(blocks.HardSwish, lambda g: (spread((3, 4), g, -5, 5),), of_x(F.hardswish)),
    Case(blocks.ThresholdedReLU, ((3, 4),), of_x(F.threshold, 1.0, 0.0)),
    Case(lambda: blocks.ThresholdedReLU(-0.5), ((2, 3, 2, 2),), of_x(F.threshold, -0.5, 0.0)),
    Case(blocks.Shrink, ((3, 4),), of_x(F.hardshrink)),
    Case(lambda: blocks.Shrink(0.7, 0.7), ((3, 4),), of_x(F.softshrink, 0.7)),
    Case(lambda: blocks.Shrink(-0.3, 0.2), ((2, 3, 2, 2),), of_x(shrink, -0.3, 0.2)),
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
    *[
        Case(
            lambda given=given: blocks.RMSNorm(*given),
            ((2, 3, 4),),
            lambda b, x: F.rms_norm(x, b.shape, b.weight, b.epsilon),
            wrong=((2, 4, 3),),
        )
        for given in ((4,), ((3, 4), 0.1), ([4], 1e-6, False))
    ],
    *[
        Case(
            lambda given=given: blocks.MeanVarianceNorm(*given),
            ((3, 2, 2, 4),),
            lambda b, x: (x - x.mean(b.axes, keepdim=True)) / (x.std(b.axes, correction=0, keepdim=True) + b.epsilon),
            wrong=((3,),),
            batch=None if 0 in given[0] else 0,
        )
        for given in (((0, 2, 3),), ([-1, 1], 0.3), ((3,), 0.0))
    ],
    *[
        Case(
            lambda given=given: blocks.LpNorm(*given),
            ((3, 4, 2),),
            lambda b, x: F.normalize(x, b.order, b.axis),
            wrong=((),),
        )
        for given in ((), (1, 1), (-1, 3), (1, 1.5))
    ],
]
