"""What an import leaves untouched: the module, and the state of torch."""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop.errors import BlockpropError, SettingError, ShapeError, UnsupportedError
from blockprop.importers import from_torch
from tests.architectures import ARCHITECTURES
from tests.importers.against_torch import (
    assert_gradients_equal,
    inputs_of,
    rows,
)
from tests.importers.module_state import SEEN, same, state_of
from tests.importers.small_modules import Unsupported, X, small


@pytest.fixture(autouse=True)
def _known_settings() -> Iterator[None]:
    """Those that an earlier import could have left otherwise."""
    logger = logging.getLogger("torch")
    level, fast = logger.level, torch.backends.mha.get_fastpath_enabled()
    logger.setLevel(logging.ERROR)
    torch.backends.mha.set_fastpath_enabled(True)
    yield
    logger.setLevel(level)
    torch.backends.mha.set_fastpath_enabled(fast)


def prepared(module: nn.Module) -> nn.Module:
    """With gradients, hooks, frozen weights, and parts in different modes, so that there is something to lose."""
    parameters = list(module.parameters())
    for i, parameter in enumerate(parameters):
        parameter.requires_grad_(i % 3 > 0)
        if i % 3 == 1:
            parameter.grad = torch.full_like(parameter, 0.5)

    seen: list[Any] = []

    def noting(part: nn.Module, *values: Any) -> None:
        seen.append(values)
        SEEN.append(values)
        part.last = values

    for part in list(module.modules())[::2]:
        part.register_forward_hook(noting)
        part.register_forward_pre_hook(noting)
        part.register_full_backward_hook(noting)
    module.seen = seen
    for part in list(module.modules())[1::3]:
        part.training = True
    return module


@pytest.mark.parametrize("name", rows(ARCHITECTURES))
def test_the_module_is_left_as_it_is(name: str) -> None:
    module, inputs = prepared(ARCHITECTURES[name].make()), inputs_of(name, torch.float32)
    before, examples = state_of(module), [x.clone() for x in inputs]
    network = from_torch(module, inputs, training=False, free=name in ("lenet5", "lstm", "resnet18"))
    assert same(before, state_of(module))
    assert all(map(torch.equal, examples, inputs))
    pointers = {tensor.data_ptr() for tensor in network.state.values()}
    assert not pointers & {tensor.data_ptr() for tensor in module.state_dict().values()}


class Interrupted(nn.Module):
    """Stops at the n-th call."""

    calls = 0

    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self.conv, self.norm, self.at, self.error = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), at, error

    def forward(self, x: Tensor) -> Tensor:
        Interrupted.calls += 1
        if Interrupted.calls > self.at:
            raise self.error
        return self.norm(self.conv(x)).relu_()


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "example", "error"),
    [
        (Unsupported(), X, UnsupportedError),
        (small(nn.ReLU(True)), X[:, :2], ShapeError),
        (Depends(), X, SettingError),
        (small(nn.BatchNorm2d(4)).train(), X, SettingError),
        (small(), [X, X], ShapeError),
        *((Interrupted(at, ValueError("stop")), X, BlockpropError) for at in range(2)),
        *((Interrupted(at, KeyboardInterrupt()), X, KeyboardInterrupt) for at in range(3)),
    ],
)
def test_the_module_is_left_as_it_is_after_an_error(module: nn.Module, example: Any, error: type) -> None:
    module = prepared(module)
    for part in module.modules():
        part.training = error is SettingError
    Interrupted.calls = 0
    before = state_of(module)
    with pytest.raises(error):
        from_torch(module, example)
    assert same(before, state_of(module))


class Masked(nn.Conv2d):
    """As PixelCNN does it: the weight itself is masked while the module runs."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data[:, :, 1:] *= 0
        return super().forward(x)


def test_a_module_that_writes_into_its_weights_is_imported_without_writing() -> None:
    module = Masked(3, 4, 3).eval()
    before = module.weight.clone()
    with pytest.raises(BlockpropError):
        from_torch(module, X)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_it_may_be_called_under_any_mode_of_autograd(mode: Callable[[], Any]) -> None:
    module = small(nn.BatchNorm2d(4), nn.ReLU())
    with mode():
        network = from_torch(module, X.clone())
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in network.state.values())
    assert_gradients_equal(network, module, (X,), 1e-4)


class Remade(nn.Module):
    """Copied by making it anew: in training mode, whatever mode it is in; what torchvision's extracted features do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.factor = nn.BatchNorm2d(3), 2.0

    def __deepcopy__(self, memo: Any) -> "Remade":
        other = Remade()
        other.load_state_dict(self.state_dict())
        return other

    def train(self, mode: bool = True) -> "Remade":
        self.factor = 2.0 if mode else 3.0
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) * self.factor


@pytest.mark.parametrize("training", [None, False])
def test_a_module_that_is_copied_by_making_it_anew_keeps_its_mode(training: bool | None) -> None:
    module = Remade().eval()
    network = from_torch(module, X, training=training)
    torch.testing.assert_close(network(X[:1]), module(X[:1]))


class Absent:
    """What stands for a package that is not there: any question is an error; MONAI has such ones in its files."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError(f"{name} of a package that is not installed")


ABSENT = Absent()


class BesideAbsent(nn.Linear):
    """A module in a file that holds such a thing."""


def test_what_stands_beside_a_module_in_its_file_is_not_asked() -> None:
    assert from_torch(BesideAbsent(3, 2), torch.randn(4, 3)).meta["free"] == {"input": [0]}
