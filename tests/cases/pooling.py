"""Rows of pooling by averages and norms."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case


def lp_pool(block: Any, x: Tensor) -> Tensor:
    """By its definition: sums of powers, which are averages times the size of the window."""
    powers, windows = x.abs() ** block.order, (block.kernel, block.stride, block.padding, block.ceil_mode)
    if x.dim() == 3:
        sums = F.avg_pool1d(powers, *windows) * block.kernel
    else:
        sums = (F.avg_pool2d if x.dim() == 4 else F.avg_pool3d)(powers, *windows, divisor_override=1)
    return sums ** (1 / block.order)


CASES: list[Case] = [
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
]
