"""Rows of normalization by a size."""

import torch
import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case, of_x

CASES: list[Case] = [
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
            lambda b, x: x / torch.linalg.vector_norm(x, b.order, b.axis, keepdim=True),
            wrong=((),),
        )
        for given in ((), (1, 1), (-1, 3), (1, 1.5))
    ],
]
