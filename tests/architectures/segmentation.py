"""Segmentation heads on a dilated ResNet-50: FCN (Long et al. 2015) and DeepLabv3 (Chen et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures
from tests.architectures.resnet import resnet50


def fcn_head(below: int, classes: int) -> nn.Sequential:
    inner = below // 4
    return nn.Sequential(
        nn.Conv2d(below, inner, 3, padding=1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(inner, classes, 1),
    )


def normed(below: int, channels: int, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(below, channels, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1 × 1, three dilations, and the mean of the whole picture."""

    def __init__(self, below: int, channels: int, rates: tuple[int, ...] = (12, 24, 36)) -> None:
        super().__init__()
        branches = [normed(below, channels), *(normed(below, channels, 3, rate) for rate in rates)]
        self.convs = nn.ModuleList(branches)
        self.pool = normed(below, channels)
        self.project = nn.Sequential(normed((2 + len(rates)) * channels, channels), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        found = [conv(x) for conv in self.convs]
        pooled = self.pool(F.adaptive_avg_pool2d(x, 1))
        found.append(F.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False))
        return self.project(torch.cat(found, dim=1))


def deeplab_head(below: int, classes: int) -> nn.Sequential:
    channels = below // 8
    return nn.Sequential(ASPP(below, channels), normed(channels, channels, 3), nn.Conv2d(channels, classes, 1))


class Segmentation(nn.Module):
    """{"out": scores of each pixel, "aux": the same from the third stage}"""

    def __init__(self, deeplab: bool, width: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.backbone = resnet50(width, dilated=True)
        del self.backbone.fc, self.backbone.avgpool
        self.classifier = (deeplab_head if deeplab else fcn_head)(32 * width, classes)
        self.aux_classifier = fcn_head(16 * width, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        size, body = x.shape[2:], self.backbone
        x = body.maxpool(body.relu(body.bn1(body.conv1(x))))
        third = body.layer3(body.layer2(body.layer1(x)))
        out = self.classifier(body.layer4(third))
        aux = self.aux_classifier(third)
        return {
            "out": F.interpolate(out, size=size, mode="bilinear", align_corners=False),
            "aux": F.interpolate(aux, size=size, mode="bilinear", align_corners=False),
        }


ARCHITECTURES = {
    "fcn_resnet50": pictures(lambda: Segmentation(deeplab=False), 48, 48),
    "deeplabv3_resnet50": pictures(lambda: Segmentation(deeplab=True), 48, 48),
}
