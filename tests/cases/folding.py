"""Rows of pixels as channels and windows as columns."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop import blocks
from tests.cases.case import Case


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """DepthToSpace of mode DCR, as ONNX's own page writes it."""
    n, c, h, w = x.shape
    parts = x.reshape(n, factor, factor, c // factor**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // factor**2, h * factor, w * factor)


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """SpaceToDepth by slices: every factor-th pixel from each of the starts."""
    return torch.cat([x[:, :, i::factor, j::factor] for i in range(factor) for j in range(factor)], 1)


CASES: list[Case] = [
    Case(lambda: blocks.PixelShuffle(2), ((2, 8, 2, 3),), lambda _, x: F.pixel_shuffle(x, 2), wrong=((2, 6, 2, 3),)),
    Case(lambda: blocks.PixelShuffle(3), ((2, 9, 1, 2),), lambda _, x: F.pixel_shuffle(x, 3), wrong=((9, 1, 2),)),
    Case(lambda: blocks.PixelShuffle(2, "DCR"), ((2, 8, 2, 3),), lambda _, x: depth_to_space(x, 2)),
    Case(
        lambda: blocks.PixelUnshuffle(2), ((2, 2, 4, 6),), lambda _, x: F.pixel_unshuffle(x, 2), wrong=((2, 2, 4, 5),)
    ),
    Case(lambda: blocks.PixelUnshuffle(3), ((2, 2, 3, 6),), lambda _, x: F.pixel_unshuffle(x, 3), wrong=((2, 3, 6),)),
    Case(lambda: blocks.PixelUnshuffle(2, "DCR"), ((2, 2, 4, 6),), lambda _, x: space_to_depth(x, 2)),
    *[
        Case(
            lambda settings=settings: blocks.Unfold(*settings),
            ((2, 2, 5, 6),),
            lambda _, x, settings=settings: F.unfold(x, *settings),
            wrong=((2, 2, 5),),
        )
        for settings in ((2,), ((3, 2), 1, (2, 1), (1, 3)), (2, 2, 1, 2), ([2, 3], [2, 1], 1))
    ],
    *[
        Case(
            lambda settings=settings: blocks.Fold(*settings),
            ((2, columns, windows),),
            lambda _, x, settings=settings: F.fold(x, *settings),
            wrong=((2, columns, windows + 1),),
        )
        for settings, columns, windows in (
            (((4, 5), 2), 8, 12),
            (((5, 6), (3, 2), 1, (2, 1), (1, 3)), 12, 21),
            ((4, 2, 2, 1, 2), 4, 4),
            (([4, 5], [2, 3], [2, 1], 1), 6, 20),
        )
    ],
]
