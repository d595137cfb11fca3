"""Whether the places of a node lie as those of the picture: found out by going back from some of them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.preparing.job import Job
from blockprop.visualize.attribution.places import FIRST, Grid, PictureAxes

SHARES = (1 / 8, 1 / 2, 7 / 8)
"""Of either side, where places are tried."""
FAR = 0.2
"""Of a side: more than it, and more than one place and a half, is another place."""
LEAST = 4
"""Places on the longer side; with fewer, far is near."""


def require_in_place(job: Job, x: Tensor, node: str, places: PictureAxes) -> None:
    """SettingError if what comes back to the picture from most of nine places of a node lies elsewhere.

    Rows of tokens may stand in another order than the picture has, and a shape does not tell. Where they mix, a place's
    own part of the picture still has the largest share of |∂/∂x|.
    """
    if places.kind == FIRST or max(places.grid) < LEAST or node in job.network.inputs:
        return
    rows, columns = places.grid
    network, trace = job.forward(x, (node,))
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(trace[node].shape, generator=generator).to(trace[node])
    tried: list[tuple[Grid, Grid]] = []
    keep = job.memory is None
    for place in ((int(row * rows), int(column * columns)) for row in SHARES for column in SHARES):
        if not keep and tried:
            network, trace = job.forward(x, (node,))
        seed = torch.zeros_like(direction)
        places.maps(seed)[:, :, place[0], place[1]] = places.maps(direction)[:, :, place[0], place[1]]
        d_x = network.backward(trace, {node: seed}, wrt=network.inputs, keep_trace=keep)[network.inputs[0]]
        share = F.adaptive_avg_pool2d(d_x.abs().sum((0, 1))[None, None], places.grid)[0, 0]
        if bool(share.any()):
            found = int(share.argmax())
            tried.append((place, (found // columns, found % columns)))
    wrong = [pair for pair in tried if _is_far(*pair, places.grid)]
    if 2 * len(wrong) > len(tried):
        (row, column), (other_row, other_column) = wrong[0]
        raise SettingError(
            f"the places of {node!r} do not lie as those of the picture: what stands at ({row}, {column}) of "
            f"{rows} x {columns} comes from ({other_row}, {other_column}); choose another node"
        )


def _is_far(a: Grid, b: Grid, grid: Grid) -> bool:
    return any(abs(i - j) > max(1.5, FAR * side) for i, j, side in zip(a, b, grid, strict=True))
