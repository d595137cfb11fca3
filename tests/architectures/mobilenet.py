"""MobileNetV2 (Sandler et al. 2018) and MobileNetV3 (Howard et al. 2019)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


def divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple of by, but not below nine tenths of channels."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def convolution(
    below: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, eps: float = 1e-5
) -> nn.Sequential:
    """Convolution and batch norm."""
    return nn.Sequential(
        nn.Conv2d(below, channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels, eps=eps),
    )


class InvertedResidual(nn.Module):
    """Expand, convolve by depth, project; the shortcut joins the thin ends."""

    def __init__(self, below: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = below * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [convolution(below, inner), nn.ReLU6(inplace=True)]
        layers += [convolution(inner, inner, 3, stride, inner), nn.ReLU6(inplace=True), convolution(inner, channels)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and below == channels

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut:
            return x + self.conv(x)
        return self.conv(x)


# expansion, channels, count, stride of the first: table 2
V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    def __init__(self, width: float = 0.25, classes: int = 10) -> None:
        super().__init__()
        below, last = divisible(32 * width), divisible(1280 * width)
        layers: list[nn.Module] = [convolution(3, below, 3, 2), nn.ReLU6(inplace=True)]
        for expansion, channels, count, stride in V2:
            for i in range(count):
                layers.append(InvertedResidual(below, divisible(channels * width), stride if i == 0 else 1, expansion))
                below = divisible(channels * width)
        layers += [convolution(below, last), nn.ReLU6(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.mean([2, 3])
        return self.classifier(x)


class HardSwish(nn.Module):
    """Written out, as before torch had it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * F.relu6(x + 3) / 6


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = divisible(channels / 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = F.relu(self.fc1(self.pool(x)))
        return F.hardsigmoid(self.fc2(scale)) * x


class Bneck(nn.Module):
    """The row of the paper's tables: kernel, expanded, channels, squeeze-and-excitation, activation, stride."""

    def __init__(
        self, below: int, kernel: int, inner: int, channels: int, se: bool, activation: type[nn.Module], stride: int
    ) -> None:
        super().__init__()
        bn = partial(convolution, eps=1e-3)
        self.expand = bn(below, inner) if inner != below else None
        self.depthwise = bn(inner, inner, kernel, stride, inner)
        self.se = SqueezeExcitation(inner) if se else None
        self.project = bn(inner, channels)
        self.activation = activation()
        self.shortcut = stride == 1 and below == channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.activation(self.expand(x))
        y = self.activation(self.depthwise(y))
        if self.se is not None:
            y = self.se(y)
        y = self.project(y)
        if self.shortcut:
            y += x
        return y


RE, HS = False, True
V3_LARGE = (
    (3, 16, 16, False, RE, 1),
    (3, 64, 24, False, RE, 2),
    (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2),
    (5, 120, 40, True, RE, 1),
    (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2),
    (3, 200, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1),
    (3, 480, 112, True, HS, 1),
    (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2),
    (5, 960, 160, True, HS, 1),
    (5, 960, 160, True, HS, 1),
)
V3_SMALL = (
    (3, 16, 16, True, RE, 2),
    (3, 72, 24, False, RE, 2),
    (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2),
    (5, 240, 40, True, HS, 1),
    (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1),
    (5, 144, 48, True, HS, 1),
    (5, 288, 96, True, HS, 2),
    (5, 576, 96, True, HS, 1),
    (5, 576, 96, True, HS, 1),
)


class MobileNetV3(nn.Module):
    """Tables 1 (large) and 2 (small)."""

    def __init__(
        self,
        rows: tuple[tuple[int, int, int, bool, bool, int], ...],
        last: int,
        width: float,
        classes: int,
        hard_swish: type[nn.Module],
    ) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return divisible(channels * width)

        below = scaled(16)
        blocks: list[nn.Module] = [nn.Sequential(convolution(3, below, 3, 2, eps=1e-3), hard_swish())]
        for kernel, inner, channels, se, hard, stride in rows:
            activation = hard_swish if hard else nn.ReLU
            blocks.append(Bneck(below, kernel, scaled(inner), scaled(channels), se, activation, stride))
            below = scaled(channels)
        blocks.append(nn.Sequential(convolution(below, 6 * below, eps=1e-3), hard_swish()))
        self.features = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            nn.Linear(6 * below, scaled(last)), hard_swish(), nn.Dropout(0.2), nn.Linear(scaled(last), classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1)
        return self.classifier(torch.squeeze(x, (2, 3)))


def mobilenet_v3_large(width: float = 0.2, classes: int = 10) -> MobileNetV3:
    return MobileNetV3(V3_LARGE, 1280, width, classes, nn.Hardswish)


def mobilenet_v3_small(width: float = 0.25, classes: int = 10) -> MobileNetV3:
    return MobileNetV3(V3_SMALL, 1024, width, classes, HardSwish)


builders: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "mobilenet_v3_small": mobilenet_v3_small,
}
ARCHITECTURES = {name: pictures(build, 64, 64) for name, build in builders.items()}
