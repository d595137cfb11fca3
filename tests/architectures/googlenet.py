"""GoogLeNet (Szegedy et al. 2015, "Going deeper with convolutions", table 1)."""

from collections import namedtuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures, thin

GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ["logits", "aux2", "aux1"])

POOL = None
# 1×1, 3×3 reduce, 3×3, 5×5 reduce, 5×5, pool projection
TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "pool3": POOL,
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "pool4": POOL,
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side, joined along the channels."""

    def __init__(self, below: int, c1: int, c3r: int, c3: int, c5r: int, c5: int, proj: int) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(nn.Conv2d(below, c1, 1), nn.ReLU(True))
        self.branch2 = nn.Sequential(
            nn.Conv2d(below, c3r, 1), nn.ReLU(True), nn.Conv2d(c3r, c3, 3, padding=1), nn.ReLU(True)
        )
        self.branch3 = nn.Sequential(
            nn.Conv2d(below, c5r, 1), nn.ReLU(True), nn.Conv2d(c5r, c5, 5, padding=2), nn.ReLU(True)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), nn.Conv2d(below, proj, 1), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class Auxiliary(nn.Module):
    """The head beside 4a and 4d, with the 4 × 4 means that the paper gets for pictures of 224 × 224."""

    def __init__(self, below: int, width: float, classes: int) -> None:
        super().__init__()
        channels, full = thin(128, width), thin(1024, width)
        self.conv = nn.Conv2d(below, channels, 1)
        self.fc1 = nn.Linear(channels * 16, full)
        self.fc2 = nn.Linear(full, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), inplace=True)
        x = F.relu(self.fc1(torch.flatten(x, 1)), inplace=True)
        return self.fc2(F.dropout(x, 0.7, training=self.training))


class GoogLeNet(nn.Module):
    """Scores; while training (scores, scores beside 4d, scores beside 4a)."""

    def __init__(self, width: float = 1 / 8, classes: int = 10, auxiliary: bool = True) -> None:
        super().__init__()
        stem, below = thin(64, width), thin(192, width)
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3)
        self.conv2 = nn.Conv2d(stem, stem, 1)
        self.conv3 = nn.Conv2d(stem, below, 3, padding=1)
        self.stages = nn.ModuleDict()
        for name, channels in TABLE_1.items():
            if channels is POOL:
                self.stages[name] = nn.MaxPool2d(3, 2, ceil_mode=True)
                continue
            c1, c3r, c3, c5r, c5, proj = (thin(c, width) for c in channels)
            self.stages[name] = Inception(below, c1, c3r, c3, c5r, c5, proj)
            below = c1 + c3 + c5 + proj
        self.aux1 = Auxiliary(thin(512, width), width, classes) if auxiliary else None
        self.aux2 = Auxiliary(thin(528, width), width, classes) if auxiliary else None
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(below, classes)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        x = F.max_pool2d(F.relu(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75)
        x = F.relu(self.conv3(F.relu(self.conv2(x))))
        x = F.max_pool2d(F.local_response_norm(x, 5, alpha=1e-4, beta=0.75), 3, 2, ceil_mode=True)
        aux1 = aux2 = None
        for name, stage in self.stages.items():
            x = stage(x)
            if self.training and self.aux1 is not None and name == "4a":
                aux1 = self.aux1(x)
            if self.training and self.aux2 is not None and name == "4d":
                aux2 = self.aux2(x)
        x = torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)
        x = self.fc(self.dropout(x))
        if self.training and self.aux1 is not None:
            return GoogLeNetOutputs(x, aux2, aux1)
        return x


# Larger numbers than 0…1, so that the response normalization matters.
ARCHITECTURES = {"googlenet": pictures(GoogLeNet, 64, 64, scale=60.0)}
