"""AlexNet (Krizhevsky, Sutskever and Hinton 2012)."""

import torch
from torch import Tensor, nn

from tests.architectures.architecture import pictures, thin


class AlexNet(nn.Module):
    """Two towers as grouped convolutions, and local response normalization after the ReLU, section 3.

    side: height and width of the last maps, 6 for pictures of 227 × 227, 1 for 67 × 67.
    torch divides alpha by the number of channels that are summed, the paper does not: hence five times the paper's.
    """

    def __init__(self, width: float = 1 / 16, classes: int = 10, side: int = 1) -> None:
        super().__init__()
        c1, c2, c3, c4, c5, full = (thin(channels, width) for channels in (96, 256, 384, 384, 256, 4096))
        self.conv1 = nn.Conv2d(3, c1, 11, stride=4)
        self.conv2 = nn.Conv2d(c1, c2, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1)
        self.conv4 = nn.Conv2d(c3, c4, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(c4, c5, 3, padding=1, groups=2)
        self.norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout()
        self.fc6 = nn.Linear(c5 * side * side, full)
        self.fc7 = nn.Linear(full, full)
        self.fc8 = nn.Linear(full, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm(self.relu(self.conv1(x))))
        x = self.pool(self.norm(self.relu(self.conv2(x))))
        x = self.relu(self.conv3(x))
        x = self.relu(self.conv4(x))
        x = self.pool(self.relu(self.conv5(x)))
        x = torch.flatten(x, 1)
        x = self.dropout(self.relu(self.fc6(x)))
        x = self.dropout(self.relu(self.fc7(x)))
        return self.fc8(x)


# Pixels of 0…255 less their mean, as in the paper: with smaller ones the response normalization does next to nothing.
ARCHITECTURES = {"alexnet": pictures(AlexNet, 67, 67, free="batch", scale=60.0)}
