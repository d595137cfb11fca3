"""Rows of normalization of each channel within an example."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case, of_x


def running_instance_norm(block: Any, x: Tensor, training: bool) -> Tensor:
    """torch's instance normalization with the block's weights, and its running statistics unless training."""
    statistics = (None, None) if training else (block.running_mean, block.running_variance)
    return F.instance_norm(x, *statistics, block.weight, block.bias, training, eps=block.epsilon)


CASES: list[Case] = [
    Case(lambda: blocks.InstanceNorm(3), ((2, 3, 2, 4),), of_x(F.instance_norm), wrong=((2, 3, 1, 1),)),
    Case(
        lambda: blocks.InstanceNorm(3, 0.1, affine=True),
        ((2, 3, 5),),
        lambda b, x: F.instance_norm(x, weight=b.weight, bias=b.bias, eps=0.1),
        wrong=((2, 2, 5),),
    ),
    *[
        Case(
            lambda affine=affine: blocks.RunningInstanceNorm(3, 0.1, affine=affine),
            (shape,),
            partial(running_instance_norm, training=training),
            wrong=((2, 2, 5),),
            training=training,
            title=f"RunningInstanceNorm, {len(shape)} axes, {training=}, {affine=}",
        )
        for shape in ((4, 3, 5), (2, 3, 2, 4))
        for training in (True, False)
        for affine in (True, False)
    ],
]
