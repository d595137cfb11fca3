"""EfficientNet-B0 (Tan and Le 2019)."""

import torch
from torch import Tensor, nn

from tests.architectures.architecture import pictures, thin


class Swish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


def drop_branch(x: Tensor, probability: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al. 2016): while training, whole examples of a branch are left out."""
    if probability == 0.0 or not training:
        return x
    keep = 1 - probability
    mask = torch.rand(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).add_(keep).floor_()
    return x.div(keep) * mask


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.swish = Swish()
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = x.mean((2, 3), keepdim=True)
        s = self.expand(self.swish(self.reduce(s)))
        return s.sigmoid() * x


class MBConv(nn.Module):
    def __init__(self, below: int, channels: int, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        inner = below * expansion
        self.expansion, self.drop = expansion, drop
        if expansion != 1:
            self.expand_conv = nn.Conv2d(below, inner, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(inner, eps=1e-3, momentum=0.01)
        self.depthwise_conv = nn.Conv2d(
            inner, inner, kernel, stride=stride, padding=kernel // 2, groups=inner, bias=False
        )
        self.bn1 = nn.BatchNorm2d(inner, eps=1e-3, momentum=0.01)
        self.se = SqueezeExcitation(inner, max(1, below // 4))
        self.project_conv = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        self.swish = Swish()
        self.shortcut = stride == 1 and below == channels

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs
        if self.expansion != 1:
            x = self.swish(self.bn0(self.expand_conv(x)))
        x = self.swish(self.bn1(self.depthwise_conv(x)))
        x = self.se(x)
        x = self.bn2(self.project_conv(x))
        if self.shortcut:
            x = drop_branch(x, self.drop, self.training)
            x = x + inputs
        return x


# expansion, kernel, stride of the first, channels, count: table 1
B0 = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class EfficientNet(nn.Module):
    """B0; the probability of leaving a branch out grows with depth, up to 0.2."""

    def __init__(self, width: float = 0.25, classes: int = 10) -> None:
        super().__init__()
        below, last = thin(32, width), thin(1280, width)
        self.stem = nn.Conv2d(3, below, 3, stride=2, padding=1, bias=False)
        self.bn0 = nn.BatchNorm2d(below, eps=1e-3, momentum=0.01)
        self.blocks = nn.ModuleList()
        total = sum(count for *_, count in B0)
        for expansion, kernel, stride, channels, count in B0:
            for i in range(count):
                drop = 0.2 * len(self.blocks) / total
                self.blocks.append(
                    MBConv(below, thin(channels, width), expansion, kernel, stride if i == 0 else 1, drop)
                )
                below = thin(channels, width)
        self.head = nn.Conv2d(below, last, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(last, eps=1e-3, momentum=0.01)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(last, classes)
        self.swish = Swish()

    def forward(self, x: Tensor) -> Tensor:
        x = self.swish(self.bn0(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        x = self.swish(self.bn1(self.head(x)))
        x = self.pool(x).flatten(start_dim=1)
        return self.fc(self.dropout(x))


ARCHITECTURES = {"efficientnet_b0": pictures(EfficientNet, 64, 64)}
