"""Rows of pictures in other sizes."""

import torch.nn.functional as F

from blockprop import blocks
from tests.cases.case import Case


def corners_of(block: blocks.Resize) -> bool | None:
    """torch wants none where nothing is mixed."""
    return None if block.mode.startswith("nearest") else block.align_corners


CASES: list[Case] = [
    *[
        Case(
            lambda given=given: blocks.Resize(**given),
            ((2, 2, 4, 6),),
            lambda b, x: F.interpolate(x, b.size, b.scale, b.mode, corners_of(b)),
            wrong=((2, 4),),
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
    *[
        Case(
            lambda given=given: blocks.Resize(**given),
            (shape,),
            lambda b, x: F.interpolate(x, b.size, b.scale, b.mode, corners_of(b), antialias=b.antialias),
            wrong=((2, 3),),
        )
        for given, shape in (
            ({"scale": 1.7}, (2, 3, 5)),
            ({"size": (3, 2, 5)}, (2, 1, 2, 3, 4)),
            ({"size": (7,), "mode": "nearest-exact"}, (2, 3, 5)),
            ({"scale": (0.5, 2.3), "mode": "nearest-exact"}, (2, 2, 4, 6)),
            ({"size": 7, "mode": "linear", "align_corners": False}, (2, 3, 5)),
            ({"scale": 0.7, "mode": "linear", "align_corners": True}, (2, 3, 5)),
            ({"size": (3, 2, 5), "mode": "trilinear", "align_corners": False}, (2, 1, 2, 3, 4)),
            ({"size": (1, 9), "mode": "bicubic", "align_corners": False}, (2, 2, 4, 6)),
            ({"scale": (1.6, 0.7), "mode": "bicubic", "align_corners": True}, (2, 2, 4, 6)),
            ({"scale": 0.4, "mode": "bilinear", "align_corners": True, "antialias": True}, (2, 2, 4, 6)),
            ({"size": (3, 4), "mode": "bicubic", "align_corners": False, "antialias": True}, (2, 2, 4, 6)),
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
