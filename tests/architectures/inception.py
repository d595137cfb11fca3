"""Inception-v3 (Szegedy et al. 2016, "Rethinking the Inception architecture"), written with functions throughout."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures, thin


class BasicConv2d(nn.Module):
    def __init__(self, below: int, channels: int, kernel_size: Any, **more: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(below, channels, kernel_size, bias=False, **more)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionA(nn.Module):
    """Figure 5: the 5 × 5 branch beside two 3 × 3."""

    def __init__(self, below: int, pool: int, width: float) -> None:
        super().__init__()
        c48, c64, c96 = (thin(c, width) for c in (48, 64, 96))
        self.branch1x1 = BasicConv2d(below, c64, 1)
        self.branch5x5_1 = BasicConv2d(below, c48, 1)
        self.branch5x5_2 = BasicConv2d(c48, c64, 5, padding=2)
        self.branch3x3_1 = BasicConv2d(below, c64, 1)
        self.branch3x3_2 = BasicConv2d(c64, c96, 3, padding=1)
        self.branch3x3_3 = BasicConv2d(c96, c96, 3, padding=1)
        self.branch_pool = BasicConv2d(below, pool, 1)
        self.channels = 2 * c64 + c96 + pool

    def forward(self, x: Tensor) -> Tensor:
        branch5x5 = self.branch5x5_2(self.branch5x5_1(x))
        branch3x3 = self.branch3x3_3(self.branch3x3_2(self.branch3x3_1(x)))
        branch_pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), branch5x5, branch3x3, branch_pool], 1)


class InceptionB(nn.Module):
    """Figure 10: half the size, from 35 × 35 to 17 × 17."""

    def __init__(self, below: int, width: float) -> None:
        super().__init__()
        c64, c96, c384 = (thin(c, width) for c in (64, 96, 384))
        self.branch3x3 = BasicConv2d(below, c384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(below, c64, 1)
        self.branch3x3dbl_2 = BasicConv2d(c64, c96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(c96, c96, 3, stride=2)
        self.channels = c384 + c96 + below

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, kernel_size=3, stride=2)], 1)


class InceptionC(nn.Module):
    """Figure 6: 7 × 7 as 1 × 7 and 7 × 1."""

    def __init__(self, below: int, inner: int, width: float) -> None:
        super().__init__()
        c192 = thin(192, width)
        row, column = {"kernel_size": (1, 7), "padding": (0, 3)}, {"kernel_size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv2d(below, c192, 1)
        self.branch7x7 = nn.Sequential(
            BasicConv2d(below, inner, 1), BasicConv2d(inner, inner, **row), BasicConv2d(inner, c192, **column)
        )
        self.branch7x7dbl = nn.Sequential(
            BasicConv2d(below, inner, 1),
            BasicConv2d(inner, inner, **column),
            BasicConv2d(inner, inner, **row),
            BasicConv2d(inner, inner, **column),
            BasicConv2d(inner, c192, **row),
        )
        self.branch_pool = BasicConv2d(below, c192, 1)
        self.channels = 4 * c192

    def forward(self, x: Tensor) -> Tensor:
        pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), self.branch7x7(x), self.branch7x7dbl(x), pool], 1)


class InceptionD(nn.Module):
    """Half the size again, from 17 × 17 to 8 × 8."""

    def __init__(self, below: int, width: float) -> None:
        super().__init__()
        c192, c320 = thin(192, width), thin(320, width)
        self.branch3x3_1 = BasicConv2d(below, c192, 1)
        self.branch3x3_2 = BasicConv2d(c192, c320, 3, stride=2)
        self.branch7x7_1 = BasicConv2d(below, c192, 1)
        self.branch7x7_2 = BasicConv2d(c192, c192, (1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(c192, c192, (7, 1), padding=(3, 0))
        self.branch7x7_4 = BasicConv2d(c192, c192, 3, stride=2)
        self.channels = c320 + c192 + below

    def forward(self, x: Tensor) -> Tensor:
        branch3x3 = self.branch3x3_2(self.branch3x3_1(x))
        branch7x7 = self.branch7x7_4(self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))))
        return torch.cat([branch3x3, branch7x7, F.max_pool2d(x, kernel_size=3, stride=2)], 1)


class InceptionE(nn.Module):
    """Figure 7: branches that fork again into 1 × 3 and 3 × 1."""

    def __init__(self, below: int, width: float) -> None:
        super().__init__()
        c192, c320, c384, c448 = (thin(c, width) for c in (192, 320, 384, 448))
        self.branch1x1 = BasicConv2d(below, c320, 1)
        self.branch3x3_1 = BasicConv2d(below, c384, 1)
        self.branch3x3_2a = BasicConv2d(c384, c384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(c384, c384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(below, c448, 1)
        self.branch3x3dbl_2 = BasicConv2d(c448, c384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(c384, c384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(c384, c384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(below, c192, 1)
        self.channels = c320 + 4 * c384 + c192

    def forward(self, x: Tensor) -> Tensor:
        branch3x3 = self.branch3x3_1(x)
        branch3x3 = torch.cat([self.branch3x3_2a(branch3x3), self.branch3x3_2b(branch3x3)], 1)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        double = torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1)
        pool = self.branch_pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        return torch.cat([self.branch1x1(x), branch3x3, double, pool], 1)


class InceptionV3(nn.Module):
    """The stem of seven layers, 3 A, B, 4 C, D, 2 E; without the auxiliary head."""

    def __init__(self, width: float = 1 / 16, classes: int = 10) -> None:
        super().__init__()
        c32, c64, c80, c192 = (thin(c, width) for c in (32, 64, 80, 192))
        self.conv_1a = BasicConv2d(3, c32, 3, stride=2)
        self.conv_2a = BasicConv2d(c32, c32, 3)
        self.conv_2b = BasicConv2d(c32, c64, 3, padding=1)
        self.conv_3b = BasicConv2d(c64, c80, 1)
        self.conv_4a = BasicConv2d(c80, c192, 3)
        kinds: list[tuple[Any, tuple[int, ...]]] = [
            *((InceptionA, (thin(pool, width),)) for pool in (32, 64, 64)),
            (InceptionB, ()),
            *((InceptionC, (thin(inner, width),)) for inner in (128, 160, 160, 192)),
            (InceptionD, ()),
            (InceptionE, ()),
            (InceptionE, ()),
        ]
        blocks: list[Any] = []
        below = c192
        for kind, inner in kinds:
            blocks.append(kind(below, *inner, width))
            below = blocks[-1].channels
        self.mixed = nn.Sequential(*blocks)
        self.fc = nn.Linear(below, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_2b(self.conv_2a(self.conv_1a(x)))
        x = F.max_pool2d(x, kernel_size=3, stride=2)
        x = F.max_pool2d(self.conv_4a(self.conv_3b(x)), kernel_size=3, stride=2)
        x = self.mixed(x)
        x = F.adaptive_avg_pool2d(x, 1)
        x = F.dropout(x, training=self.training)
        return self.fc(x.view(x.shape[0], -1))


ARCHITECTURES = {"inception_v3": pictures(InceptionV3, 75, 75)}
