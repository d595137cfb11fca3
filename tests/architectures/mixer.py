"""MLP-Mixer (Tolstikhin et al. 2021)."""

from torch import Tensor, nn

from tests.architectures.architecture import pictures


class MlpBlock(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class MixerBlock(nn.Module):
    """One MLP across the patches, one across the channels."""

    def __init__(self, patches: int, width: int, token_hidden: int, channel_hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.token_mixing = MlpBlock(patches, token_hidden)
        self.norm2 = nn.LayerNorm(width)
        self.channel_mixing = MlpBlock(width, channel_hidden)

    def forward(self, x: Tensor) -> Tensor:
        y = self.token_mixing(self.norm1(x).mT).mT
        x = x + y
        return x + self.channel_mixing(self.norm2(x))


class Mixer(nn.Module):
    """B/16: width 768, patch 16, 196 patches, 12 blocks; hidden widths are half and four times width."""

    def __init__(self, width: int = 24, patch: int = 8, patches: int = 16, count: int = 12, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, patch, stride=patch)
        self.blocks = nn.Sequential(*(MixerBlock(patches, width, width // 2, 4 * width) for _ in range(count)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        x = self.norm(self.blocks(x))
        return self.head(x.mean(dim=1))


ARCHITECTURES = {"mixer": pictures(Mixer, 32, 32, free="batch")}
