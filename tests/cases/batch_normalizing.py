"""Rows of normalization of each channel over the batch."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case


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
    *[
        Case(
            lambda kind=kind, affine=affine: kind(3, affine=affine, running=False),
            (shape,),
            partial(batch_norm, training=True),
            batch=None,
            title=f"{kind.__name__} without running statistics, {affine=}",
        )
        for kind, shape in ((blocks.BatchNorm1d, (6, 3)), (blocks.BatchNorm2d, (3, 3, 2, 4)))
        for affine in (True, False)
    ],
    Case(
        lambda: blocks.BatchNorm1d(3, momentum=None),
        ((6, 3),),
        partial(batch_norm, training=True),
        training=True,
        title="BatchNorm1d, mean over all batches",
    ),
]
