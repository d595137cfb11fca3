"""A tensor as a page shows it: shape, numbers, extremes, and a picture where it is one."""

import base64
import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SHOWN = 64
"""Numbers of a tensor that a page shows; of a larger one the first, and a picture if it is one."""
SIDE = 64
"""Pixels of a picture's longer side."""
TILES = 16
"""Channels that a picture shows."""


def shown(tensor: Tensor, is_error: bool = False) -> dict[str, Any]:
    """A tensor for the page: its shape, numbers, norm, extremes, and a picture if it is one."""
    found: dict[str, Any] = {"shape": list(tensor.shape)}
    numbers = tensor.to(torch.float64)
    found["numbers"] = [_rounded(x, tensor.numel() <= SHOWN) for x in numbers.flatten()[:SHOWN].tolist()]
    if tensor.numel() > SHOWN:
        found |= {"norm": _rounded(float(numbers.norm())), "least": _rounded(float(numbers.min()))}
        found |= {"most": _rounded(float(numbers.max()))}
    if picture := _picture(numbers, is_error):
        found["picture"] = picture
    return found


def _rounded(x: float, exactly: bool = False) -> float | str:
    if not np.isfinite(x):
        return str(x)
    return x if exactly else float(f"{x:.6g}")


def _picture(x: Tensor, is_error: bool) -> str:
    """Channels of the first example side by side, as a PNG in a data URI; errors red where positive, blue below."""
    if x.dim() != 4 or min(x.shape[2:]) < 4 or not x.numel() or not torch.isfinite(x).all():
        return ""
    channels = x[0, :TILES]
    step = max(1, -(-max(channels.shape[1:]) // SIDE))
    channels = channels[:, ::step, ::step]
    across = 1 if len(channels) == 1 else 4
    is_color = len(channels) == 3 and not is_error
    if is_color:
        channels, across = channels[None], 1
    tiles = [_colored(channel, is_error, is_color) for channel in channels]
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // across)
    whole = np.full((rows * (height + 1) - 1, across * (width + 1) - 1, 3), 128, np.uint8)
    for i, tile in enumerate(tiles):
        y, left = i // across * (height + 1), i % across * (width + 1)
        whole[y : y + height, left : left + width] = tile
    file = io.BytesIO()
    Image.fromarray(whole).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _colored(x: Tensor, is_error: bool, is_color: bool) -> Any:
    if is_error:
        share = x / x.abs().max().clamp_min(1e-300)
        blue_red = torch.stack([1 + share.clamp(-1, 0), 1 - share.abs(), 1 - share.clamp(0, 1)], -1)
        return (blue_red * 255).round().byte().numpy()
    low, high = x.min(), x.max()
    gray = (x - low) / (high - low).clamp_min(1e-300)
    colors = gray.permute(1, 2, 0) if is_color else gray[..., None].expand(*gray.shape, 3)
    return (colors * 255).round().byte().numpy()
