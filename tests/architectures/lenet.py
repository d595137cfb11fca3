"""LeNet-5, as it is written today and as it was in 1998."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class LeNet5(nn.Module):
    """LeNet-5 as most people write it: all maps connected, average pooling, a linear output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.fc1 = nn.Linear(120, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.tanh(self.conv1(x)))
        x = self.pool(torch.tanh(self.conv2(x)))
        x = torch.tanh(self.conv3(x))
        x = x.view(x.size(0), -1)
        x = torch.tanh(self.fc1(x))
        return self.fc2(x)


# Table I: the maps of S2 that each map of C3 sees.
C3_SEES = [[i % 6, (i + 1) % 6, (i + 2) % 6] for i in range(6)]
C3_SEES += [[i % 6, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6] for i in range(6)]
C3_SEES += [[0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


def squash(x: Tensor) -> Tensor:
    return 1.7159 * torch.tanh(2 / 3 * x)


class Subsampling(nn.Module):
    """Mean of 2 × 2 values, times a coefficient, plus a bias, one of each for a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return squash(F.avg_pool2d(x, 2) * self.coefficient + self.bias)


class LeNet5Of1998(nn.Module):
    """LeCun, Bottou, Bengio and Haffner 1998, section II B: trained subsampling, table I, distances to fixed codes."""

    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = nn.ModuleList(nn.Conv2d(len(seen), 1, 5) for seen in C3_SEES)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.register_buffer("codes", torch.randn(10, 84).sign())

    def forward(self, x: Tensor) -> Tensor:
        x = self.s2(squash(self.c1(x)))
        x = torch.cat([conv(x[:, seen]) for conv, seen in zip(self.c3, C3_SEES, strict=True)], dim=1)
        x = self.s4(squash(x))
        x = squash(self.c5(x)).flatten(1)
        x = squash(self.f6(x))
        return (x[:, None] - self.codes).pow(2).sum(-1)


ARCHITECTURES = {
    "lenet5": pictures(LeNet5, 32, 32, free="batch", channels=1),
    "lenet5_1998": pictures(LeNet5Of1998, 32, 32, free="batch", channels=1),
}
