"""Rows of convolutions and transposed convolutions."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
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
]
