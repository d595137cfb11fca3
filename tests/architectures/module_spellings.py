"""The ways to put modules together: containers, sharing, parameters and buffers of all kinds."""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tests.architectures.architecture import Architecture, other, pictures


class Convolutions(nn.Module):
    """Two convolutions, for those below to use."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)


class Scored(Convolutions):
    """A small network with a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


def sequential() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def sequential_named() -> nn.Module:
    parts = [("conv", nn.Conv2d(3, 4, 3)), ("bn", nn.BatchNorm2d(4)), ("relu", nn.ReLU()), ("head", nn.Conv2d(4, 2, 1))]
    return nn.Sequential(OrderedDict(parts))


def sequential_nested() -> nn.Module:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()))
    return nn.Sequential(inner, nn.Identity(), nn.Sequential(nn.Dropout(), nn.Conv2d(4, 2, 1)))


class Listed(nn.Module):
    """A ModuleList by iteration, and one by index."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)])
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = self.norms[i](conv(x))
        return x


class Named(nn.Module):
    """A ModuleDict, of which one entry is chosen and one never used."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleDict({"small": nn.Conv2d(3, 4, 1), "large": nn.Conv2d(3, 4, 5)})
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.stems["small"](x)))


class SharedInSeries(Convolutions):
    """One convolution three times, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for _ in range(3):
            x = torch.tanh(self.conv2(x))
        return x


class SharedUnderTwoNames(Convolutions):
    """One module with two names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.conv2

    def forward(self, x: Tensor) -> Tensor:
        return self.again(F.relu(self.conv2(self.conv1(x))))


class TiedWeights(nn.Module):
    """An autoencoder whose decoder has the encoder's weight, transposed; a second encoder has it as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.twin = nn.Linear(6, 4)
        self.twin.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        code = torch.sigmoid(self.encoder(x)) + self.twin(x)
        return F.linear(code, self.encoder.weight.t())


class Normalizing(Convolutions):
    """Mean and deviation as buffers, one of which is not saved."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1((x - self.mean) / self.std))


class ConstantInside(Convolutions):
    """Constants made in forward, one as long as the rows."""

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        return self.conv2(self.conv1(x * weights + torch.linspace(0, 1, 6)))


class PlainTensor(Convolutions):
    """A tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.full((4, 1, 1), 0.25)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x) + self.offset)


class OwnParameters(nn.Module):
    """F.conv2d, F.linear, addmm and @ with parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3) / 5)
        self.scale = nn.Parameter(torch.ones(()))
        self.weights = nn.ParameterList(torch.randn(5, 4) / 2 for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, stride=2, padding=1).mean((2, 3)) * self.scale
        first, second = self.weights
        return F.linear(x, first, self.bias) + torch.addmm(self.bias, x, second.t()) + x @ first.T


class EinsumLinear(nn.Module):
    """A 1 × 1 convolution as a sum over an index."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,oc->nohw", self.conv(x), self.fc.weight) + self.fc.bias.view(-1, 1, 1)


class LinearOnPictures(EinsumLinear):
    """A 1 × 1 convolution as a linear layer, with the channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WeightNormed(Scored):
    """Salimans and Kingma 2016, with a length for each output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = weight_norm(self.conv1)
        self.fc = weight_norm(self.fc)


class Frozen(Scored):
    """A frozen body with a frozen batch norm, and a trained head."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(4)
        for part in (self.conv1, self.conv2, self.bn):
            for parameter in part.parameters():
                parameter.requires_grad_(False)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv2(self.conv1(x)))).mean((2, 3))


class Unused(Convolutions):
    """A layer that nothing calls, and one whose result nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.Linear(7, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        self.conv2(x)
        return x


class Detached(Convolutions):
    """No gradient passes the second branch."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return x + self.conv2(x.detach())


BUILDS: dict[str, Callable[[], nn.Module]] = {
    "method": Scored,
    "sequential": sequential,
    "sequential_named": sequential_named,
    "sequential_nested": sequential_nested,
    "module_list": Listed,
    "module_dict": Named,
    "shared_in_series": SharedInSeries,
    "shared_under_two_names": SharedUnderTwoNames,
    "buffers": Normalizing,
    "plain_tensor": PlainTensor,
    "own_parameters": OwnParameters,
    "einsum_linear": EinsumLinear,
    "linear_on_pictures": LinearOnPictures,
    "weight_norm": WeightNormed,
    "frozen": Frozen,
    "unused": Unused,
    "detached": Detached,
}

SPELLINGS: dict[str, Architecture] = {name: pictures(build, 6, 6) for name, build in BUILDS.items()} | {
    "constant_inside": pictures(ConstantInside, 6, 6, free="batch height"),
    "tied_weights": other(TiedWeights, (2, 6), axes=["batch features"]),
}
