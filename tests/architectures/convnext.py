"""ConvNeXt-T (Liu et al. 2022)."""

import torch
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of (n, c, h, w), written out."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    """7 × 7 by depth, then, with the channels last, LayerNorm, 4 × wider, GELU, back, layer scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        x = self.dwconv(x)
        x = x.permute(0, 2, 3, 1)  # (n, c, h, w) -> (n, h, w, c)
        x = self.norm(x)
        x = self.pwconv2(self.act(self.pwconv1(x)))
        x = self.gamma * x
        x = x.permute(0, 3, 1, 2)
        return residual + x


class ConvNeXt(nn.Module):
    def __init__(self, width: int = 8, classes: int = 10, counts: tuple[int, ...] = (3, 3, 9, 3)) -> None:
        super().__init__()
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage, count in enumerate(counts):
            channels = width * 2**stage
            if stage == 0:
                step = nn.Sequential(nn.Conv2d(3, channels, kernel_size=4, stride=4), ChannelNorm(channels))
            else:
                step = nn.Sequential(
                    ChannelNorm(channels // 2), nn.Conv2d(channels // 2, channels, kernel_size=2, stride=2)
                )
            self.downsample_layers.append(step)
            self.stages.append(nn.Sequential(*(ConvNeXtBlock(channels) for _ in range(count))))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(4):
            x = self.downsample_layers[i](x)
            x = self.stages[i](x)
        x = self.norm(x.mean([-2, -1]))
        return self.head(x)


ARCHITECTURES = {"convnext_tiny": pictures(ConvNeXt, 64, 64)}
