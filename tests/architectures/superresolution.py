"""SRResNet (Ledig et al. 2017) and ESPCN (Shi et al. 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn1(self.conv1(x)))
        return torch.add(x, self.bn2(self.conv2(y)))


class SRResNet(nn.Module):
    """Figure 4: 16 residual blocks, a long shortcut, twice conv, pixel shuffle, PReLU; 9 × 9 at both ends."""

    def __init__(self, width: int = 8, count: int = 16) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
        self.after = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        upscaling: list[nn.Module] = []
        for _ in range(2):
            upscaling += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(width)]
        self.upscaling = nn.Sequential(*upscaling)
        self.tail = nn.Conv2d(width, 3, 9, padding=4)

    def forward(self, x: Tensor) -> Tensor:
        first = self.head(x)
        x = self.after(self.body(first)) + first
        return self.tail(self.upscaling(x))


class ESPCN(nn.Module):
    """Section 3.2: (5, 64), (3, 32), (3, r²) with tanh, and one pixel shuffle; beside it the bicubic picture."""

    def __init__(self, width: int = 16, factor: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 5, padding=2)
        self.conv2 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.conv3 = nn.Conv2d(width // 2, factor**2, 3, padding=1)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        plain = F.interpolate(x, scale_factor=self.factor, mode="bicubic", align_corners=False)
        x = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        x = F.pixel_shuffle(self.conv3(x), self.factor)
        return torch.sigmoid(x + plain)


ARCHITECTURES = {
    "srresnet": pictures(SRResNet, 16, 16),
    "espcn": pictures(ESPCN, 24, 20, channels=1),
}
