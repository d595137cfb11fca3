"""Rows of normalization to mean 0 and variance 1."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x


def batch_norm(block: Any, x: Tensor, training: bool) -> Tensor:
    """torch's batch normalization with the block's weights, and its running statistics unless training."""
    statistics = (None, None) if training else (block.running_mean, block.running_variance)
    return F.batch_norm(x, *statistics, block.weight, block.bias, training, eps=block.epsilon)


CASES: list[Case] = [
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
    *[
        Case(
            partial(blocks.BatchNorm3d, 3, affine=affine),
            ((3, 3, 2, 1, 2),),
            partial(batch_norm, training=training),
            wrong=((3, 3, 2, 1),),
            training=training,
            title=f"BatchNorm3d, {training=}, {affine=}",
        )
        for training in (True, False)
        for affine in (True, False)
    ],
]
