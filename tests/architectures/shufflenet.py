"""ShuffleNet V1 (Zhang et al. 2018) and V2 (Ma et al. 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.size()
    x = x.view(n, groups, c // groups, h, w)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(n, -1, h, w)


def pointwise(below: int, channels: int, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(below, channels, 1, groups=groups, bias=False), nn.BatchNorm2d(channels)]


def depthwise(channels: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)]


class UnitV1(nn.Module):
    """Figure 2: grouped 1 × 1, shuffle, 3 × 3 by depth, grouped 1 × 1; plus the input, or at stride 2 beside it."""

    def __init__(self, below: int, channels: int, stride: int, groups: int, first: bool = False) -> None:
        super().__init__()
        inner, branch = channels // 4, channels - below if stride == 2 else channels
        self.stride, self.groups = stride, groups
        self.reduce = nn.Sequential(*pointwise(below, inner, 1 if first else groups), nn.ReLU())
        self.depth = nn.Sequential(*depthwise(inner, stride))
        self.expand = nn.Sequential(*pointwise(inner, branch, groups))

    def forward(self, x: Tensor) -> Tensor:
        y = channel_shuffle(self.reduce(x), self.groups)
        y = self.expand(self.depth(y))
        if self.stride == 2:
            return F.relu(torch.cat((F.avg_pool2d(x, 3, stride=2, padding=1), y), 1))
        return F.relu(y.add_(x))


class ShuffleNetV1(nn.Module):
    """Table 1, three groups (240, 480 and 960 channels)."""

    def __init__(self, below: int = 12, channels: int = 60, classes: int = 10, groups: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, below, 3, 2, 1, bias=False), nn.BatchNorm2d(below), nn.ReLU())
        units: list[nn.Module] = []
        for stage, count in enumerate((4, 8, 4)):
            units.append(UnitV1(below, channels, 2, groups, first=stage == 0))
            units += [UnitV1(channels, channels, 1, groups) for _ in range(count - 1)]
            below, channels = channels, 2 * channels
        self.units = nn.Sequential(*units)
        self.fc = nn.Linear(below, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x), 3, 2, 1)
        x = self.units(x)
        x = x.mean(3).mean(2)
        return self.fc(x)


class UnitV2(nn.Module):
    """Figure 3: half of the channels passes by; at stride 2 both branches convolve."""

    def __init__(self, below: int, channels: int, stride: int) -> None:
        super().__init__()
        half = channels // 2
        self.stride = stride
        if stride == 2:
            self.branch1 = nn.Sequential(*depthwise(below, 2), *pointwise(below, half), nn.ReLU(inplace=True))
        start = below if stride == 2 else half
        self.branch2 = nn.Sequential(
            *pointwise(start, half),
            nn.ReLU(inplace=True),
            *depthwise(half, stride),
            *pointwise(half, half),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            y = torch.cat((x1, self.branch2(x2)), dim=1)
        else:
            y = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        return channel_shuffle(y, 2)


class ShuffleNetV2(nn.Module):
    """Table 5; 1×: channels (24, 116, 232, 464, 1024)."""

    def __init__(self, channels: tuple[int, ...] = (8, 20, 40, 80, 128), classes: int = 10) -> None:
        super().__init__()
        below, *stages, last = channels
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, below, 3, 2, 1, bias=False), nn.BatchNorm2d(below), nn.ReLU(inplace=True)
        )
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        units: list[nn.Module] = []
        for width, count in zip(stages, (4, 8, 4), strict=True):
            units += [UnitV2(below, width, 2), *(UnitV2(width, width, 1) for _ in range(count - 1))]
            below = width
        self.units = nn.Sequential(*units)
        self.conv5 = nn.Sequential(*pointwise(below, last), nn.ReLU(inplace=True))
        self.fc = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.units(x))
        x = x.mean([2, 3])
        return self.fc(x)


ARCHITECTURES = {
    "shufflenet_v1": pictures(ShuffleNetV1, 64, 64),
    "shufflenet_v2": pictures(ShuffleNetV2, 64, 64),
}
