"""U-Net (Ronneberger, Fischer and Brox 2015): with padding, with bilinear interpolation, and as in the paper."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class DoubleConv(nn.Sequential):
    def __init__(self, below: int, channels: int, padding: int) -> None:
        super().__init__(
            nn.Conv2d(below, channels, 3, padding=padding),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=padding),
            nn.ReLU(inplace=True),
        )


def padded_to(x: Tensor, skip: Tensor) -> Tensor:
    """x with zeros around it, so that it is as large as skip."""
    d_h = skip.size()[2] - x.size()[2]
    d_w = skip.size()[3] - x.size()[3]
    return F.pad(x, [d_w // 2, d_w - d_w // 2, d_h // 2, d_h - d_h // 2])


def cropped_to(skip: Tensor, x: Tensor) -> Tensor:
    """The middle of skip, as large as x."""
    top, left = (skip.shape[2] - x.shape[2]) // 2, (skip.shape[3] - x.shape[3]) // 2
    return skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]


class UNet(nn.Module):
    """Four halvings and four transposed convolutions; padding 0 crops the skips, as the paper does."""

    def __init__(self, width: int = 4, channels: int = 1, classes: int = 2, padding: int = 1) -> None:
        super().__init__()
        self.inc = DoubleConv(channels, width, padding)
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(DoubleConv(width * 2**i, width * 2 ** (i + 1), padding) for i in range(4))
        self.up = nn.ModuleList()
        self.up_conv = nn.ModuleList()
        for i in reversed(range(4)):
            self.up.append(nn.ConvTranspose2d(width * 2 ** (i + 1), width * 2**i, kernel_size=2, stride=2))
            self.up_conv.append(DoubleConv(width * 2 ** (i + 1), width * 2**i, padding))
        self.outc = nn.Conv2d(width, classes, 1)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.inc(x)]
        for conv in self.down:
            skips.append(conv(self.pool(skips[-1])))
        x = skips.pop()
        for up, conv in zip(self.up, self.up_conv, strict=True):
            x, skip = up(x), skips.pop()
            joined = (skip, padded_to(x, skip)) if self.padding else (cropped_to(skip, x), x)
            x = conv(torch.cat(joined, dim=1))
        return self.outc(x)


class BilinearUNet(nn.Module):
    """Batch norm, and bilinear interpolation to the size of the skip in the place of transposed convolutions."""

    def __init__(self, width: int = 4, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        counts = [width * 2**i for i in range(5)]
        self.encoders = nn.ModuleList(
            self._double(below, above) for below, above in zip([channels, *counts[:-1]], counts, strict=True)
        )
        self.decoders = nn.ModuleList(self._double(counts[i] + counts[i + 1], counts[i]) for i in (3, 2, 1, 0))
        self.head = nn.Conv2d(width, classes, kernel_size=1)

    @staticmethod
    def _double(below: int, above: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(below, above, 3, padding="same", bias=False),
            nn.BatchNorm2d(above),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(above, above, 3, padding="same", bias=False),
            nn.BatchNorm2d(above),
            nn.LeakyReLU(0.1, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for encoder in self.encoders[:-1]:
            x = encoder(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.encoders[-1](x)
        for decoder, skip in zip(self.decoders, skips[::-1], strict=True):
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=True)
            x = decoder(torch.cat([x, skip], 1))
        return F.log_softmax(self.head(x), dim=1)


ARCHITECTURES = {
    "unet": pictures(UNet, 48, 41, channels=1),
    "unet_bilinear": pictures(BilinearUNet, 45, 38),
    # 188 is the smallest picture that leaves something after 18 convolutions without padding.
    "unet_cropping": pictures(lambda: UNet(2, padding=0), 188, 188, channels=1),
}
