"""Rows of borders."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
    Case(
        lambda: blocks.Pad((0, "b0 - a1"), "replicate"),
        ((2, 3), (5,)),
        lambda _, x, _y: F.pad(x[None], (0, 2), "replicate")[0],
        batch=None,
    ),
    *[
        Case(
            lambda given=given: blocks.Pad(*given),
            ((2, 2, 4, 5),),
            lambda b, x: F.pad(x, b.pads, b.mode, b.value if b.mode == "constant" else None),
            wrong=wrong,
        )
        for given, wrong in (
            (((1, 2),), None),
            (((0, 0, 2, 1), "constant", 0.5), None),
            (((-1, 2, 1, -2),), ((2, 2, 0, 5),)),
            (((1, 0, 0, 2, 1, 1),), ((2, 2),)),
            (((1, 2, 3, 1), "reflect"), ((2, 2, 3, 5),)),
            (((4, 4, 3, 3), "reflect"), ((2, 2, 4, 4),)),
            (((0, 1, 0, 0), "reflect"), None),
            (((1, 2, 3, 1), "replicate"), ((2, 2, 0, 5),)),
            (((0, 6, 7, 0), "replicate"), None),
            (((1, 2, 3, 1), "circular"), ((2, 2, 2, 5),)),
            (((5, 5, 4, 0), "circular"), None),
        )
    ],
    Case(lambda: blocks.Pad((2, 1), "reflect"), ((2, 3, 4),), lambda _, x: F.pad(x, (2, 1), "reflect"), wrong=((),)),
    Case(
        lambda: blocks.Pad((1, 1, 1, 0, 0, 1), "replicate"),
        ((2, 2, 2, 3, 2),),
        lambda b, x: F.pad(x, b.pads, "replicate"),
    ),
]
