"""Swin-T (Liu et al. 2021): attention in windows, which every other block shifts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


def window_partition(x: Tensor, window: int) -> Tensor:
    """(n, h, w, c) -> (n · windows, window², c)"""
    n, h, w, c = x.shape
    x = x.view(n, h // window, window, w // window, window, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, window * window, c)


def window_reverse(windows: Tensor, window: int, h: int, w: int) -> Tensor:
    """(n · windows, window², c) -> (n, h, w, c)"""
    x = windows.view(-1, h // window, w // window, window, window, windows.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, h, w, windows.shape[-1])


def shift_mask(h: int, w: int, window: int, shift: int, device: torch.device) -> Tensor:
    """-100 between positions that the shift has brought together from afar: (windows, window², window²)."""
    regions = torch.zeros(1, h, w, 1, device=device)
    count = 0
    for rows in (slice(0, -window), slice(-window, -shift), slice(-shift, None)):
        for columns in (slice(0, -window), slice(-window, -shift), slice(-shift, None)):
            regions[:, rows, columns, :] = count
            count += 1
    regions = window_partition(regions, window).squeeze(-1)
    difference = regions.unsqueeze(1) - regions.unsqueeze(2)
    return difference.masked_fill(difference != 0, -100.0).masked_fill(difference == 0, 0.0)


class WindowAttention(nn.Module):
    """Attention among the positions of a window, with a learned bias for each relative position."""

    def __init__(self, width: int, window: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)
        coordinates = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        relative = coordinates[:, :, None] - coordinates[:, None, :] + window - 1
        self.register_buffer("relative_position_index", relative[0] * (2 * window - 1) + relative[1])
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        q = q * self.scale
        attention = q @ k.transpose(-2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)].view(n, n, -1)
        attention = attention + bias.permute(2, 0, 1).contiguous().unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            attention = attention.view(b // windows, windows, self.heads, n, n) + mask.unsqueeze(1).unsqueeze(0)
            attention = attention.view(-1, self.heads, n, n)
        attention = attention.softmax(dim=-1)
        x = (attention @ v).transpose(1, 2).reshape(b, n, c)
        return self.proj(x)


class SwinBlock(nn.Module):
    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, window, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def attend(self, x: Tensor) -> Tensor:
        """Pad to whole windows, roll, attend in each window, roll back, cut."""
        _, h, w, _ = x.shape
        x = F.pad(x, (0, 0, 0, -w % self.window, 0, -h % self.window))
        padded_h, padded_w = x.shape[1], x.shape[2]
        mask = None
        if self.shift > 0:
            x = torch.roll(x, shifts=(-self.shift, -self.shift), dims=(1, 2))
            mask = shift_mask(padded_h, padded_w, self.window, self.shift, x.device)
        windows = self.attn(window_partition(x, self.window), mask)
        x = window_reverse(windows, self.window, padded_h, padded_w)
        if self.shift > 0:
            x = torch.roll(x, shifts=(self.shift, self.shift), dims=(1, 2))
        return x[:, :h, :w, :].contiguous()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Module):
    """Four neighbors side by side, then half as many channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x0 = x[:, 0::2, 0::2, :]
        x1 = x[:, 1::2, 0::2, :]
        x2 = x[:, 0::2, 1::2, :]
        x3 = x[:, 1::2, 1::2, :]
        return self.reduction(self.norm(torch.cat([x0, x1, x2, x3], -1)))


class Swin(nn.Module):
    def __init__(
        self,
        width: int = 8,
        heads: tuple[int, ...] = (1, 2, 4, 8),
        window: int = 2,
        counts: tuple[int, ...] = (2, 2, 6, 2),
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, kernel_size=4, stride=4)
        self.patch_norm = nn.LayerNorm(width)
        layers: list[nn.Module] = []
        for stage, count in enumerate(counts):
            if stage:
                layers.append(PatchMerging(width))
                width *= 2
            layers += [SwinBlock(width, heads[stage], window, window // 2 * (i % 2)) for i in range(count)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        self.avgpool = nn.AdaptiveAvgPool1d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_norm(self.patch_embed(x).permute(0, 2, 3, 1))
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x).flatten(1, 2)
        x = self.avgpool(x.transpose(1, 2))
        return self.head(torch.flatten(x, 1))


ARCHITECTURES = {"swin_tiny": pictures(Swin, 64, 64)}
