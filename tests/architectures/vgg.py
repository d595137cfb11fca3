"""VGG (Simonyan and Zisserman 2015), configurations D and E."""

import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures, thin

FULL = 4096


class VGG16(nn.Module):
    """Configuration D, one long Sequential with ReLU(inplace=True).

    side: height and width of the last maps, 7 for pictures of 224 × 224, 1 for 32 × 32.
    """

    def __init__(self, width: float = 1 / 16, classes: int = 10, side: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        below = 3
        for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(below, thin(channels, width), 3, padding=1), nn.ReLU(inplace=True)]
                below = thin(channels, width)
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        full = thin(FULL, width)
        self.classifier = nn.Sequential(
            nn.Linear(below * side * side, full),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(full, full),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(full, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


class VGG19(nn.Module):
    """Configuration E, as for artistic style: convolutions by name, and a dict of what each ReLU gives."""

    def __init__(self, width: float = 1 / 16, classes: int = 10, side: int = 1) -> None:
        super().__init__()
        self.conv = nn.ModuleDict()
        below = 3
        for stage, (channels, count) in enumerate(((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)), 1):
            for i in range(1, count + 1):
                self.conv[f"{stage}_{i}"] = nn.Conv2d(below, thin(channels, width), 3, padding=1)
                below = thin(channels, width)
        full = thin(FULL, width)
        self.fc6 = nn.Linear(below * side * side, full)
        self.fc7 = nn.Linear(full, full)
        self.fc8 = nn.Linear(full, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = {}
        for name, conv in self.conv.items():
            if name.endswith("_1") and name != "1_1":
                x = F.max_pool2d(x, kernel_size=2, stride=2)
            x = F.relu(conv(x))
            features[f"relu{name}"] = x
        x = F.max_pool2d(x, 2).flatten(start_dim=1)
        x = F.dropout(F.relu(self.fc6(x)), training=self.training)
        x = F.dropout(F.relu(self.fc7(x)), training=self.training)
        features["scores"] = self.fc8(x)
        return features


ARCHITECTURES = {
    "vgg16": pictures(VGG16, 32, 32, free="batch"),
    "vgg19": pictures(VGG19, 32, 32, free="batch"),
}
