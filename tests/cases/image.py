"""Rows of pictures in other sizes."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case

CASES: list[Case] = [
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
