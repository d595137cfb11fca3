"""The ways to write ReLU: functions, methods, modules, in place, by hand."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class Activated(nn.Module):
    """Convolution, activation, convolution, activation."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.conv1(x))
        return self.activation(self.conv2(x))


def assigned(x: Tensor) -> Tensor:
    x[x < 0] = 0
    return x


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu_function": lambda x: F.relu(x),
    "relu_function_inplace": lambda x: F.relu(x, inplace=True),
    "relu_function_underscore": lambda x: F.relu_(x),
    "relu_method": lambda x: x.relu(),
    "relu_method_inplace": lambda x: x.relu_(),
    "relu_torch": lambda x: torch.relu(x),
    "relu_torch_inplace": lambda x: torch.relu_(x),
    "relu_clamp": lambda x: x.clamp(min=0),
    "relu_clamp_inplace": lambda x: x.clamp_(min=0),
    "relu_torch_clamp": lambda x: torch.clamp(x, 0.0),
    "relu_clamp_min": lambda x: x.clamp_min(0),
    "relu_clip": lambda x: x.clip(0),
    "relu_threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "relu_threshold_inplace": lambda x: F.threshold(x, 0.0, 0.0, inplace=True),
    "relu_maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "relu_maximum_constant": lambda x: torch.maximum(x, torch.tensor(0.0)),
    "relu_max": lambda x: torch.max(x, torch.zeros(1)),
    "relu_where": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "relu_where_scalar": lambda x: torch.where(x > 0, x, 0.0),
    "relu_mask": lambda x: x * (x > 0),
    "relu_mask_float": lambda x: x * (x > 0).float(),
    "relu_masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "relu_assigned": assigned,
    "relu_absolute": lambda x: (x + x.abs()) / 2,
    "relu_leaky": lambda x: F.leaky_relu(x, 0.0),
    "relu_module_made_inside": lambda x: nn.ReLU()(x),
    "relu_module_made_inside_inplace": lambda x: nn.ReLU(True)(x),
}


class TwoModules(Activated):
    """One module for each use."""

    def __init__(self, inplace: bool) -> None:
        super().__init__(F.relu)
        self.relu1 = nn.ReLU(inplace)
        self.relu2 = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))
        return self.relu2(self.conv2(x))


class TenUses(nn.Module):
    """One module used ten times."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(10))
        self.relu = nn.ReLU(inplace)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.relu(layer(x))
        return x


class Dropped(Activated):
    """The result is dropped: the change in place is what counts."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        F.relu(x, inplace=True)
        return self.conv2(x)


class Forked(Activated):
    """What was kept before the change in place has changed, too."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        z = y.relu_()
        return y + self.conv2(z)


class Cloned(Activated):
    """A copy is changed: y keeps what is below 0."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        z = y.clone().relu_()
        return y + self.conv2(z)


class ThroughView(Activated):
    """A view is changed, and with it what it looks at."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y.view(y.size(0), -1).relu_()
        return self.conv2(y)


class HalfOfTheChannels(Activated):
    """Only the first two channels are changed, through a slice."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        F.relu(y[:, :2], inplace=True)
        return self.conv2(y)


CLASSES: dict[str, Callable[[], nn.Module]] = {
    "relu_module": lambda: TwoModules(False),
    "relu_module_inplace": lambda: TwoModules(True),
    "relu_module_reused": lambda: Activated(nn.ReLU()),
    "relu_module_reused_inplace": lambda: Activated(nn.ReLU(inplace=True)),
    "relu_ten_uses": lambda: TenUses(False),
    "relu_ten_uses_inplace": lambda: TenUses(True),
    "relu_threshold_module": lambda: Activated(nn.Threshold(0.0, 0.0)),
    "relu_dropped": lambda: Dropped(F.relu),
    "relu_forked": lambda: Forked(F.relu),
    "relu_cloned": lambda: Cloned(F.relu),
    "relu_through_view": lambda: ThroughView(F.relu),
    "relu_half_of_the_channels": lambda: HalfOfTheChannels(F.relu),
}

SPELLINGS = {
    name: pictures(build, 6, 6, free="batch height" if "ten_uses" in name else "batch height width")
    for name, build in ({name: partial(Activated, f) for name, f in FUNCTIONS.items()} | CLASSES).items()
}
