"""Batch normalization of a batch that several processes share: mean and variance are those of all its rows.

Each process takes those of its own rows; from these follow the common ones (Chan et al. 1979, eq. 2.1 for two parts):

    n = Σ n_r     mean = Σ n_r mean_r / n     variance = Σ n_r (variance_r + (mean_r − mean)²) / n

Going back, the two sums over the batch in d_x = (d_x̂ − mean(d_x̂) − x̂ · mean(d_x̂ · x̂)) / σ are those of all processes;
d_weight and d_bias are the sums over the own rows, which training adds up with all other gradients.
"""

import torch
from torch import Tensor

from blockprop.blocks.channel_norms import Standardized, per_channel
from blockprop.engine.precision import wide
from blockprop.engine.shared_batch import SharedBatch
from blockprop.errors import ShapeError


def standardized_together(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, epsilon: float, batch: SharedBatch
) -> tuple[Tensor, Standardized]:
    """Each channel of x by the mean and variance of all processes, which are computed in float64.

    Raises ShapeError if all of them together have fewer than two values per channel.
    """
    mean, variance, count = _statistics(x, batch)
    if count < 2:
        raise ShapeError(f"the batch's own mean needs two values or more per channel, came {count} in all processes")
    inverse_std = (variance + epsilon).rsqrt_()
    kind, dims = wide(x).dtype, x.dim()
    center = mean.to(kind)
    rest = (mean - center).to(kind)  # the rounding of a mean that is far from 0 would be seen beside the deviation
    normal = (wide(x) - per_channel(center, dims)).sub_(per_channel(rest, dims))
    normal.mul_(per_channel(inverse_std.to(kind), dims))
    y = normal
    if weight is not None and bias is not None:
        y = torch.addcmul(per_channel(bias.to(kind), dims), normal, per_channel(weight.to(kind), dims))
    return y.to(x.dtype), Standardized(normal, center, variance.to(kind), inverse_std.to(kind), True, count)


def _statistics(x: Tensor, batch: SharedBatch) -> tuple[Tensor, Tensor, int]:
    axes = [axis for axis in range(x.dim()) if axis != 1]
    own_count = x.numel() // x.shape[1]
    z = x.double()
    own_mean = z.sum(axes) / max(own_count, 1)
    own_squares = (z - per_channel(own_mean, x.dim())).square_().sum(axes)
    counts = torch.full_like(own_mean, own_count)
    counts, means, squares = batch.gather(torch.stack([counts, own_mean, own_squares])).unbind(1)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    variance = (squares + counts * (means - mean).square_()).sum(0) / count
    return mean, variance, int(count[0])


def standardized_back_together(
    saved: Standardized, d_y: Tensor, weight: Tensor | None, batch: SharedBatch, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """(d_x, d_weight, d_bias) by the formulas; the other processes are asked for d_x alone."""
    assert saved.x is not None
    assert saved.counted is not None
    axes, kind, dims = [axis for axis in range(d_y.dim()) if axis != 1], saved.mean.dtype, d_y.dim()
    d, normal = d_y.to(kind), saved.x
    d_bias, d_weight = d.sum(axes), (d * normal).sum(axes)
    if not wanted[0]:
        return d_y, d_weight.to(d_y.dtype), d_bias.to(d_y.dtype)
    total = batch.gather(torch.stack([d_bias, d_weight]).double()).sum(0) / saved.counted
    mean, slope = (per_channel(part.to(kind), dims) for part in total)
    scale = saved.inverse_std if weight is None else saved.inverse_std * weight.to(kind)
    d_x = (d - mean).addcmul_(normal, slope, value=-1).mul_(per_channel(scale, dims))
    return d_x.to(d_y.dtype), d_weight.to(d_y.dtype), d_bias.to(d_y.dtype)
