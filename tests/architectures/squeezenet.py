"""SqueezeNet 1.1 (Iandola et al. 2016)."""

import torch
from torch import Tensor, nn

from tests.architectures.architecture import pictures, thin


class Fire(nn.Module):
    """A squeezing 1 × 1 convolution, then 1 × 1 and 3 × 3 side by side."""

    def __init__(self, below: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(below, squeeze, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], dim=1
        )


class SqueezeNet(nn.Module):
    """Version 1.1: eight Fire modules, pooling after the first, third and fifth convolution stage, no linear layer."""

    def __init__(self, width: float = 1 / 4, classes: int = 10) -> None:
        super().__init__()
        below = thin(64, width)
        layers: list[nn.Module] = [nn.Conv2d(3, below, 3, stride=2), nn.ReLU(inplace=True)]
        for stage in (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256))):
            layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
            for squeeze, expand in stage:
                layers.append(Fire(below, thin(squeeze, width), thin(expand, width)))
                below = 2 * thin(expand, width)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(p=0.5), nn.Conv2d(below, classes, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


ARCHITECTURES = {"squeezenet1_1": pictures(SqueezeNet, 48, 48)}
