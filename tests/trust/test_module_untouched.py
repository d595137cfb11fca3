"""An import never changes the user's module, whatever its forward writes to, and however the import ends."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop.errors import BlockpropError
from blockprop.importers import from_torch
from tests.architectures import ARCHITECTURES
from tests.importers.against_torch import inputs_of, rows
from tests.importers.module_state import same, state_of


class Writing(nn.Module):
    """Writes to something of its own whenever it runs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.linear, self.plain = name, nn.Linear(4, 2), torch.ones(2)
        self.register_buffer("kept", torch.ones(2))
        self.linear.weight.grad = torch.ones(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            WRITES[self.name](self)
        return self.linear(x) * self.kept * self.plain


def _new_weight(module: Writing) -> None:
    module.linear.weight = nn.Parameter(module.linear.weight * 0.5)


def _new_gradient(module: Writing) -> None:
    module.linear.weight.grad = torch.zeros(2, 4)


def _new_data(module: Writing) -> None:
    module.linear.weight.data = module.linear.weight.data * 0.5


WRITES: dict[str, Callable[[Writing], Any]] = {
    "weight": lambda module: module.linear.weight.mul_(0.5),
    "data": lambda module: module.linear.weight.data.mul_(0.5),
    "new data": _new_data,
    "detached": lambda module: module.linear.weight.detach().mul_(0.5),
    "numbers": lambda module: module.linear.weight.numpy().fill(0.5),
    "another storage": lambda module: module.linear.weight.set_(module.linear.weight * 0.5),
    "another weight": _new_weight,
    "gradient": lambda module: module.linear.weight.grad is None or module.linear.weight.grad.mul_(0.5),
    "another gradient": _new_gradient,
    "flag": lambda module: module.linear.weight.requires_grad_(False),
    "buffer": lambda module: module.kept.mul_(0.5),
    "tensor": lambda module: module.plain.mul_(0.5),
    "random numbers": lambda module: module.linear.weight.uniform_(),
    "hook": lambda module: module.linear.register_forward_hook(lambda *_: None),
    "mode": lambda module: module.linear.train(),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_the_module_writes_to_stays(name: str) -> None:
    module = Writing(name).eval()
    before, plain = state_of(module), module.plain.clone()
    with suppress(BlockpropError):
        from_torch(module, torch.ones(3, 4))
    assert same(before, state_of(module))
    assert torch.equal(plain, module.plain)


@pytest.mark.parametrize("name", ["weight", "data", "buffer", "another weight"])
@pytest.mark.parametrize("before_export", [True, False])
def test_ctrl_c_in_an_export_leaves_it(name: str, before_export: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    export = torch.export.export

    def interrupted(module: nn.Module, *arguments: Any, **settings: Any) -> None:
        if not before_export:
            with suppress(Exception):
                export(module, *arguments, **settings)
        raise KeyboardInterrupt

    module = Writing(name).eval()
    before = state_of(module)
    monkeypatch.setattr(torch.export, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        from_torch(module, torch.ones(3, 4))
    assert same(before, state_of(module))


@pytest.mark.slow
@pytest.mark.parametrize("name", rows(ARCHITECTURES))
def test_ctrl_c_leaves_every_architecture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(module: nn.Module, arguments: Any, keywords: Any = None, **_: Any) -> None:
        with torch.no_grad():
            module(*copy.deepcopy(arguments), **(keywords or {}))
        raise KeyboardInterrupt

    module, inputs = ARCHITECTURES[name].make(), inputs_of(name, torch.float32)
    before = state_of(module)
    monkeypatch.setattr(torch.export, "export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        from_torch(module, inputs, training=False)
    assert same(before, state_of(module))
