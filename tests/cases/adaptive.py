"""Rows of pooling in windows that follow the size of the picture."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    Case(blocks.GlobalAvgPool, ((2, 3, 4, 3),), lambda _, x: x.mean((2, 3)), wrong=((2, 3),)),
    Case(blocks.GlobalAvgPool, ((2, 3, 4),), lambda _, x: x.mean(2), title="GlobalAvgPool, 1 axis"),
    Case(blocks.GlobalMaxPool, ((2, 3, 4, 3),), lambda _, x: x.flatten(2).max(2).values, wrong=((2, 3, 0, 4),)),
    Case(
        blocks.GlobalMaxPool, ((2, 3, 2, 3, 2),), lambda _, x: x.flatten(2).max(2).values, title="GlobalMaxPool, 3 axes"
    ),
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
]
