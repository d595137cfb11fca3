"""DenseNet-BC (Huang et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class DenseLayer(nn.Module):
    """BN, ReLU, 1 × 1, BN, ReLU, 3 × 3 on all maps so far, which come as a list."""

    def __init__(self, below: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(below)
        self.conv1 = nn.Conv2d(below, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = torch.cat(maps, 1)
        x = self.conv1(torch.relu(self.norm1(x)))
        return self.conv2(torch.relu_(self.norm2(x)))


class DenseBlock(nn.ModuleList):
    """Each layer sees the block's input and all layers before it."""

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self:
            maps.append(layer(maps))
        return torch.cat(maps, 1)


def transition(below: int) -> nn.Sequential:
    """Half the channels (the C of BC), half the size."""
    layers = [nn.BatchNorm2d(below), nn.ReLU(), nn.Conv2d(below, below // 2, 1, bias=False), nn.AvgPool2d(2, stride=2)]
    return nn.Sequential(*layers)


class DenseNet(nn.Module):
    """DenseNet-121, table 1; growth is the paper's k."""

    def __init__(self, growth: int = 4, classes: int = 10, counts: tuple[int, ...] = (6, 12, 24, 16)) -> None:
        super().__init__()
        channels = 2 * growth
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for stage, count in enumerate(counts):
            self.blocks.append(DenseBlock(DenseLayer(channels + i * growth, growth) for i in range(count)))
            channels += count * growth
            if stage < len(counts) - 1:
                self.transitions.append(transition(channels))
                channels //= 2
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.transitions):
                x = self.transitions[i](x)
        x = F.relu(self.norm(x), inplace=True)
        return self.classifier(x.mean((2, 3)))


ARCHITECTURES = {"densenet121": pictures(DenseNet, 32, 32)}
