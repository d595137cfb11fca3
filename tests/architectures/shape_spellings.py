"""The ways to flatten, pool, index, split, arrange, pad and assign."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import Architecture, Build, pictures

Arrange = Callable[[Tensor], Tensor]


class Arranged(nn.Module):
    """A convolution to (n, 4, 6, 6), then what is to be shown, then a linear layer if features is given."""

    def __init__(self, arrange: Arrange, features: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.arrange = arrange
        self.fc = nn.Linear(features, 3) if features is not None else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.arrange(self.conv(x))
        return x if self.fc is None else self.fc(x)


FLATTENING: dict[str, Arrange] = {
    "flatten_torch": lambda x: torch.flatten(x, 1),
    "flatten_method": lambda x: x.flatten(1),
    "flatten_keyword": lambda x: x.flatten(start_dim=1, end_dim=-1),
    "flatten_module": nn.Flatten(),
    "flatten_view_size": lambda x: x.view(x.size(0), -1),
    "flatten_view_shape": lambda x: x.view(x.shape[0], -1),
    "flatten_view_len": lambda x: x.view(len(x), -1),
    "flatten_view_numbers": lambda x: x.view(-1, 4 * 6 * 6),
    "flatten_view_product": lambda x: x.view(-1, x.shape[1] * x.shape[2] * x.shape[3]),
    "flatten_view_features": lambda x: x.view(-1, x[0].numel()),
    "flatten_reshape": lambda x: x.reshape(x.shape[0], -1),
    "flatten_reshape_torch": lambda x: torch.reshape(x, (x.shape[0], -1)),
    "flatten_channels_last": lambda x: x.permute(0, 2, 3, 1).reshape(x.shape[0], -1),
    "flatten_contiguous": lambda x: x.transpose(1, 2).contiguous().view(x.size(0), -1),
    "flatten_twice": lambda x: x.flatten(2).flatten(1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)).flatten(1),
}

POOLING: dict[str, Arrange] = {
    "mean_tuple": lambda x: x.mean((2, 3)),
    "mean_list": lambda x: x.mean(dim=[2, 3]),
    "mean_torch": lambda x: torch.mean(x, dim=(-2, -1)),
    "mean_keepdim": lambda x: x.mean((2, 3), keepdim=True).flatten(1),
    "mean_twice": lambda x: x.mean(3).mean(2),
    "mean_flat": lambda x: x.flatten(2).mean(-1),
    "mean_view": lambda x: x.view(x.size(0), x.size(1), -1).mean(2),
    "mean_sum_divided": lambda x: x.sum((2, 3)) / (x.shape[2] * x.shape[3]),
    "mean_adaptive": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "mean_adaptive_module": lambda x: nn.AdaptiveAvgPool2d((1, 1))(x).squeeze(-1).squeeze(-1),
    "mean_avg_pool_shape": lambda x: F.avg_pool2d(x, x.shape[2:]).view(x.shape[0], -1),
    "mean_avg_pool_size": lambda x: F.avg_pool2d(x, kernel_size=x.size()[2:]).squeeze((2, 3)),
    "max_amax": lambda x: x.amax((2, 3)),
    "max_adaptive": lambda x: F.adaptive_max_pool2d(x, (1, 1)).flatten(1),
    "max_values": lambda x: x.flatten(2).max(-1).values,
    "max_twice": lambda x: x.max(3)[0].max(2)[0],
    "std": lambda x: x.std((2, 3)),
    "var": lambda x: torch.var(x, dim=(2, 3), unbiased=False),
    "norm": lambda x: x.flatten(2).norm(dim=2),
    "logsumexp": lambda x: x.logsumexp((2, 3)),
}


def split_sizes(x: Tensor) -> Tensor:
    x, y = torch.split(x, [1, 3], dim=1)
    return torch.cat([y, x], 1)


def unbound(x: Tensor) -> Tensor:
    a, b, c, d = x.unbind(1)
    return a * b + c - d


def space_to_depth(x: Tensor) -> Tensor:
    """rearrange(x, "n c (h 2) (w 2) -> n (c 2 2) h w")"""
    n, c, h, w = x.shape
    x = x.view(n, c, h // 2, 2, w // 2, 2)
    return x.permute(0, 1, 3, 5, 2, 4).reshape(n, c * 4, h // 2, w // 2)


def gram(x: Tensor) -> Tensor:
    n, c, h, w = x.size()
    features = x.view(n, c, h * w)
    return features.bmm(features.transpose(1, 2)).div(c * h * w)


ARRANGING: dict[str, Arrange] = {
    "index_first": lambda x: x[:, 0],
    "index_last": lambda x: x[:, -1],
    "index_slice": lambda x: x[:, 1:3],
    "index_step": lambda x: x[:, :, ::2, 1::2],
    "index_cut": lambda x: x[:, :, :-1, 1:],
    "index_ellipsis": lambda x: x[..., 0],
    "index_none": lambda x: x[..., None],
    "index_none_between": lambda x: x[:, None] * x[:, :, None],
    "index_list": lambda x: x[:, [2, 0]],
    "index_tensor": lambda x: x[:, torch.tensor([2, 0, 2])],
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 1])),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, 2),
    "flip": lambda x: x.flip(-1),
    "flip_by_index": lambda x: x[:, torch.arange(3, -1, -1)],
    "roll": lambda x: torch.roll(x, shifts=(1, -2), dims=(2, 3)),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=1),
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "expand_as": lambda x: x.mean((2, 3), keepdim=True).expand_as(x) * x,
    "chunk": lambda x: torch.mul(*x.chunk(2, dim=1)),
    "chunk_one_used": lambda x: torch.chunk(x, 2, 1)[1],
    "split": lambda x: torch.cat(x.split(1, dim=1)[::-1], 1),
    "split_sizes": split_sizes,
    "tensor_split": lambda x: torch.sub(*torch.tensor_split(x, 2, dim=1)),
    "unbind": unbound,
    "glu": lambda x: F.glu(x, dim=1),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "permute_torch": lambda x: torch.permute(x, (0, 3, 1, 2)),
    "transpose": lambda x: x.transpose(1, -1),
    "movedim": lambda x: x.movedim(1, -1),
    "swapaxes": lambda x: torch.swapaxes(x, 2, 3),
    "matrix_transpose": lambda x: x.mT,
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "space_to_depth": space_to_depth,
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "gram": gram,
    "pad": lambda x: F.pad(x, (1, 2, 0, 1)),
    "pad_value": lambda x: F.pad(x, [1, 1, 1, 1], value=0.5),
    "pad_negative": lambda x: F.pad(x, (-1, -1, 1, -2)),
    "pad_reflect": lambda x: F.pad(x, (2, 2, 2, 2), mode="reflect"),
    "pad_replicate": lambda x: F.pad(x, (1, 0, 2, 1), mode="replicate"),
    "pad_module": lambda x: nn.ZeroPad2d(1)(x),
    "pad_channels": lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)),
    "upsample_factor": lambda x: F.interpolate(x, scale_factor=2),
    "upsample_size": lambda x: F.interpolate(x, size=(9, 11), mode="bilinear", align_corners=False),
    "upsample_module": lambda x: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(x),
    "normalize": lambda x: F.normalize(x, dim=1),
    "cumsum": lambda x: x.cumsum(-1),
}


def assign_scaled(x: Tensor) -> Tensor:
    x[:, :2] *= 2
    return x


def assign_zero(x: Tensor) -> Tensor:
    x[:, 0] = 0
    return x


def assign_overlapping(x: Tensor) -> Tensor:
    x[:, 1:3] = 2 * x[:, :2]
    return x


def assign_into_zeros(x: Tensor) -> Tensor:
    """Channels one further, as the temporal shift module does (Lin et al. 2019)."""
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    return y + x


def assign_rows(x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], 2, 6, 6)
    for i in range(2):
        y[:, i] = x[:, 2 * i] - x[:, 2 * i + 1]
    return y


def assign_through_view(x: Tensor) -> Tensor:
    first = x[:, 0]
    first.mul_(3)
    return x


def copied(x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    y.copy_(x)
    return y * 2


ASSIGNING: dict[str, Arrange] = {
    "assign_scaled": assign_scaled,
    "assign_zero": assign_zero,
    "assign_overlapping": assign_overlapping,
    "assign_into_zeros": assign_into_zeros,
    "assign_rows": assign_rows,
    "assign_through_view": assign_through_view,
    "assign_copied": copied,
}

# Those that have a 6, or what 6 is made of, in them.
FIXED = {"assign_rows", "space_to_depth", "pixel_unshuffle"}


def spelled(build: Build, fixed: bool) -> Architecture:
    return pictures(build, 6, 6, free="batch" if fixed else "batch height width")


SPELLINGS = (
    {name: spelled(partial(Arranged, arrange, 144), True) for name, arrange in FLATTENING.items()}
    | {name: spelled(partial(Arranged, arrange, 4), False) for name, arrange in POOLING.items()}
    | {name: spelled(partial(Arranged, arrange), name in FIXED) for name, arrange in (ARRANGING | ASSIGNING).items()}
)
