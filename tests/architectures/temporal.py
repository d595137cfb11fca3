"""The temporal convolutional network (Bai, Kolter and Koltun 2018): weight-normed, dilated, causal."""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.architectures.architecture import other


class Chomp(nn.Module):
    """Cuts off the end, so that no output sees what comes later."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.count].contiguous()


class TemporalBlock(nn.Module):
    """Figure 1(b)."""

    def __init__(self, below: int, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = (kernel - 1) * dilation

        def causal(below: int) -> list[nn.Module]:
            conv = nn.Conv1d(below, channels, kernel, padding=padding, dilation=dilation)
            return [weight_norm(conv), Chomp(padding), nn.ReLU(), nn.Dropout(0.2)]

        self.net = nn.Sequential(*causal(below), *causal(channels))
        self.downsample = nn.Conv1d(below, channels, 1) if below != channels else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        return self.relu(self.net(x) + residual)


class TCN(nn.Module):
    def __init__(self, below: int = 3, width: int = 12, count: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(TemporalBlock(width if i else below, width, 3, dilation=2**i) for i in range(count))
        )
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return self.fc(x[:, :, -1])


ARCHITECTURES = {"tcn": other(TCN, (2, 3, 40), axes=["batch channels length"], free="batch length")}
