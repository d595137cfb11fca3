"""Pictures for networks that see small ones: made with more room, and written as large as people look at them."""

import math

from torch import Tensor
from torch.nn import functional

from blockprop.engine.network import Network
from blockprop.pictures.photos import picture_channels
from blockprop.visualize.maximize import picture_size

SMALL = 64
"""A network for colored pictures of sides below this gets some of twice the side, if it takes any size.

What gray ones show, such as a digit, fills them: with more room the network is no longer sure of it.
"""
LOOKED_AT = 256
"""Pixels of the longer side, at least, of a picture whose size nobody said."""


def roomy_size(network: Network) -> tuple[int, int]:
    """(h, w) of a picture that is made for a network, with room for more than one of what it sees, if that is small."""
    height, width = picture_size(network)
    free = (network.meta.get("free") or {}).get(network.inputs[0], ())
    has_room = max(height, width) < SMALL and {2, 3} <= set(free) and picture_channels(network) == 3
    return (2 * height, 2 * width) if has_room else (height, width)


def enlarged(picture: Tensor) -> tuple[Tensor, int]:
    """(a picture (c, h, w), by a whole factor and smoothly as large as people look at it; the factor)."""
    factor = math.ceil(LOOKED_AT / max(picture.shape[1:]))
    if factor <= 1:
        return picture, 1
    return functional.interpolate(picture[None], scale_factor=factor, mode="bicubic")[0].clamp(0, 1), factor
