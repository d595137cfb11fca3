"""Small modules that several tests of the import share."""

import torch
from torch import Tensor, nn

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def small(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *parts, nn.Conv2d(4, 2, 3)).eval()


class Unsupported(nn.Module):
    """Two operators without a block, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.hypot(self.first(x), torch.ones(()))
        x = self.second(x).cumprod(2)
        return torch.hypot(x, x + 1)


def asserted(x: Tensor, mask: Tensor) -> Tensor:
    """Here and not in a test, whose assertions pytest writes anew."""
    assert mask.sum(1).max().item() <= x.shape[1]
    return x * 2
