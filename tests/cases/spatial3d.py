"""Rows of convolutions, pooling and batch normalization along one and three axes, and of norms over windows."""

from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case
from tests.cases.elementwise import batch_norm


def lp_pool(block: Any, x: Tensor) -> Tensor:
    """By its definition: sums of powers, which are averages times the size of the window."""
    powers, windows = x.abs() ** block.order, (block.kernel, block.stride, block.padding, block.ceil_mode)
    if x.dim() == 3:
        sums = F.avg_pool1d(powers, *windows) * block.kernel
    else:
        sums = (F.avg_pool2d if x.dim() == 4 else F.avg_pool3d)(powers, *windows, divisor_override=1)
    return sums ** (1 / block.order)


CASES = [
    # Transposed convolution
    *[
        Case(
            lambda given=given: blocks.ConvTranspose1d(*given[0], **given[1]),
            ((2, given[0][0], 5),),
            lambda b, x: F.conv_transpose1d(
                x, b.weight, b.bias, b.stride, b.padding, b.output_padding, b.groups, b.dilation
            ),
            wrong=((2, given[0][0] + 1, 5),),
        )
        for given in (
            ((2, 3, 2), {}),
            ((2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
            ((2, 3, [2]), {"stride": 1, "dilation": 2, "output_padding": 1, "with_bias": False}),
            ((2, 4, 3), {"stride": 2, "padding": 2, "dilation": 2, "groups": 2}),
        )
    ],
    *[
        Case(
            lambda given=given: blocks.ConvTranspose3d(*given[0], **given[1]),
            ((2, given[0][0], 2, 3, 2),),
            lambda b, x: F.conv_transpose3d(
                x, b.weight, b.bias, b.stride, b.padding, b.output_padding, b.groups, b.dilation
            ),
            wrong=((2, given[0][0], 2, 3),),
        )
        for given in (
            ((2, 2, 2), {}),
            ((2, 2, (1, 2, 3)), {"stride": (1, 2, 2), "padding": (0, 1, 1), "output_padding": (0, 1, 0)}),
            ((2, 2, 2), {"stride": 1, "dilation": (2, 1, 1), "output_padding": (1, 0, 0), "with_bias": False}),
            ((2, 4, 2), {"padding": 1, "dilation": 2, "groups": 2}),
        )
    ],
    # Pooling
    *[
        Case(
            lambda given=given: blocks.MaxPool3d(**given),
            ((2, 2, 4, 5, 4),),
            lambda b, x: F.max_pool3d(x, b.kernel, b.stride, b.padding, b.dilation, b.ceil_mode),
            wrong=((2, 2, 4, 5),),
        )
        for given in (
            {"kernel": 2},
            {"kernel": (1, 2, 3), "stride": (1, 2, 1)},
            {"kernel": 3, "stride": 2, "padding": 1},
            {"kernel": 2, "ceil_mode": True},
            {"kernel": 2, "stride": 1, "dilation": (1, 3, 2)},
        )
    ],
    *[
        Case(
            lambda given=given: blocks.AvgPool3d(**given),
            ((2, 1, 4, 5, 4),),
            lambda b, x: F.avg_pool3d(
                x, b.kernel, b.stride, b.padding, b.ceil_mode, b.count_include_pad, divisor_override=b.divisor
            ),
            wrong=((2, 4, 5, 4),),
        )
        for given in (
            {"kernel": 2},
            {"kernel": (2, 1, 4), "stride": (1, 2, 3)},
            {"kernel": 3, "stride": 2, "padding": 1, "count_include_pad": False},
            {"kernel": 3, "stride": 2, "padding": (1, 0, 1), "ceil_mode": True},
            {"kernel": 3, "stride": 2, "padding": 1, "divisor": 5},
        )
    ],
    *[
        Case(
            lambda given=given: blocks.AvgPool2d(**given),
            ((3, 1, 6, 7),),
            lambda b, x: F.avg_pool2d(x, b.kernel, b.stride, b.padding, b.ceil_mode, divisor_override=b.divisor),
        )
        for given in (
            {"kernel": 2, "divisor": 1},
            {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True, "divisor": -7},
        )
    ],
    Case(lambda: blocks.AvgPool1d(3, 2, divisor=2), ((2, 2, 9),), lambda _, x: F.avg_pool1d(x, 3, 2) * (3 / 2)),
    *[
        Case(
            lambda make=make, size=size: make(size),
            ((2, 2, *((4, 5, 3)[-axes:])),),
            lambda b, x, reference=reference: reference(x, b.output_size),
            wrong=((2, 2, *((4, 5)[: axes - 1])),),
        )
        for axes, make, reference, sizes in (
            (1, blocks.AdaptiveAvgPool1d, F.adaptive_avg_pool1d, (1, 2, 3, 4)),
            (1, blocks.AdaptiveMaxPool1d, F.adaptive_max_pool1d, (1, 2, 3, 4)),
            (3, blocks.AdaptiveAvgPool3d, F.adaptive_avg_pool3d, (1, 2, (3, 4, 2), (4, 1, 5))),
            (3, blocks.AdaptiveMaxPool3d, F.adaptive_max_pool3d, (1, 2, (3, 4, 2), (4, 1, 5))),
        )
        for size in sizes
    ],
    *[
        Case(
            lambda make=make, given=given: make(**given),
            ((2, 1, *((4, 5, 6)[-axes:])),),
            lp_pool,
            wrong=((2, *((4, 5, 6)[-axes:])),),
        )
        for axes, make, all_given in (
            (1, blocks.LpPool1d, ({"order": 2, "kernel": 3}, {"order": 1, "kernel": 3, "stride": 1, "padding": 1})),
            (
                2,
                blocks.LpPool2d,
                (
                    {"order": 2, "kernel": 2},
                    {"order": 1, "kernel": (2, 3)},
                    {"order": 3, "kernel": 3, "stride": 2, "padding": 1},
                    {"order": 2.5, "kernel": [2, 3], "stride": [3, 2], "ceil_mode": True},
                ),
            ),
            (3, blocks.LpPool3d, ({"order": 2, "kernel": 2}, {"order": 3, "kernel": (1, 2, 3), "stride": 2})),
        )
        for given in all_given
    ],
    # Batch normalization
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
