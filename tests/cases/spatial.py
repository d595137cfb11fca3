"""Rows of convolutions, pooling and resizing."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES = [
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
        lambda: blocks.Resize(("b2", "b3*2"), mode="bilinear"),
        ((2, 2, 4, 6), (2, 1, 5, 4)),
        lambda _, x, _y: F.interpolate(x, (5, 8), mode="bilinear"),
    ),
    Case(
        lambda: blocks.Resize(scale=0.4),
        ((2, 2, 4, 6),),
        lambda _, x: F.interpolate(x, scale_factor=0.4),
        wrong=((2, 2, 2, 6),),
        title="Resize, nothing left",
    ),
]
