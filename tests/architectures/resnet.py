"""ResNet-18 and ResNet-50 (He et al. 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


def downsample(below: int, channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and below == channels:
        return None
    return nn.Sequential(nn.Conv2d(below, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions and a shortcut, with F.relu and a plain sum."""

    expansion = 1

    def __init__(self, below: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(below, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample(below, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.downsample is not None:
            x = self.downsample(x)
        return F.relu(x + y)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3, 1 × 1 and a shortcut, with one in-place ReLU used three times and `out += identity`."""

    expansion = 4

    def __init__(self, below: int, channels: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(below, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample(below, 4 * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """Table 1, four stages; with dilated, the last two stages keep their size and dilate instead (Yu et al. 2017)."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, int, int, int],
        width: int,
        classes: int = 10,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        self.below, self.block = width, block
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._stage(width, counts[0], 1)
        self.layer2 = self._stage(2 * width, counts[1], 2)
        self.layer3 = self._stage(4 * width, counts[2], *((1, 1, 2) if dilated else (2,)))
        self.layer4 = self._stage(8 * width, counts[3], *((1, 2, 4) if dilated else (2,)))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(self.below, classes)

    def _stage(self, channels: int, count: int, stride: int, first: int = 1, later: int = 1) -> nn.Sequential:
        blocks = [self.block(self.below, channels, stride, first)]
        self.below = self.block.expansion * channels
        blocks += [self.block(self.below, channels, 1, later) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


def resnet18(width: int = 8, classes: int = 10) -> ResNet:
    return ResNet(BasicBlock, (2, 2, 2, 2), width, classes)


def resnet50(width: int = 4, classes: int = 10, dilated: bool = False) -> ResNet:
    return ResNet(Bottleneck, (3, 4, 6, 3), width, classes, dilated)


ARCHITECTURES = {
    "resnet18": pictures(resnet18, 64, 64),
    "resnet50": pictures(resnet50, 64, 64),
}
