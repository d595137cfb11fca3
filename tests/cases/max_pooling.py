"""Rows of max pooling."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
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
]
