"""A tensor as a page shows it: shape, numbers, extremes, and a picture where it is one."""

import base64
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SHOWN = 64
"""Numbers of a tensor that a page shows; of a larger one the first, and a picture if it is one."""
ROWS, COLUMNS = 8, 12
"""Of the numbers, so many stand in a table."""
SIDE = 64
"""Pixels of a channel's longer side, at most."""
TILES = 16
"""Channels that a picture shows."""
ROOM = 1_600_000
"""Pixels of all pictures of a page; a pixel takes about a byte there."""


def shown(tensor: Tensor, is_error: bool = False, side: int = SIDE) -> dict[str, Any]:
    """A tensor for the page: its shape, numbers, which of them stand in its table, norm, extremes, and a picture."""
    found: dict[str, Any] = {"shape": list(tensor.shape), "rows": [[row.start, row.stop] for row in _rows(tensor)]}
    numbers = tensor.to(torch.float64)
    found["numbers"] = [rounded(x, tensor.numel() <= SHOWN) for x in numbers.flatten()[:SHOWN].tolist()]
    if tensor.numel() > SHOWN:
        found |= {"norm": rounded(float(numbers.norm())), "least": rounded(float(numbers.min()))}
        found |= {"most": rounded(float(numbers.max()))}
    if picture := _picture(numbers, is_error, side):
        found["picture"] = picture
    return found


def shown_places(tensor: Tensor) -> list[int]:
    """Which numbers of a tensor, row by row, stand in the page's table."""
    return [place for row in _rows(tensor) for place in row]


def _rows(tensor: Tensor) -> list[range]:
    across = tensor.shape[-1] if tensor.dim() > 1 else ROWS
    first = min(SHOWN, tensor.numel())
    return [range(i, min(i + across, i + COLUMNS, first)) for i in range(0, first, max(1, across))][:ROWS]


def side_for(tensors: Iterable[Tensor]) -> int:
    """Pixels of a channel's longer side, so that the pictures of these, and of their derivatives, have room."""
    count = 2 * sum(_is_picture(tensor) for tensor in tensors)
    return min(SIDE, math.isqrt(ROOM // (count * TILES))) if count else SIDE


def rounded(x: float, exactly: bool = False) -> float | str:
    """A number as JSON holds it: to six digits unless exactly; in words if it is not finite."""
    if not math.isfinite(x):
        return "not a number" if math.isnan(x) else "∞" if x > 0 else "−∞"
    return x if exactly else float(f"{x:.6g}")


def _is_picture(x: Tensor) -> bool:
    return x.dim() == 4 and min(x.shape[2:]) >= 4 and x.numel() > 0


def _picture(x: Tensor, is_error: bool, side: int) -> str:
    """Channels of the first example side by side, as a PNG in a data URI; errors red where positive, blue below."""
    if not _is_picture(x) or not torch.isfinite(x).all():
        return ""
    channels = x[0, :TILES]
    step = max(1, -(-max(channels.shape[1:]) // side))
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
