"""Modules that keep something between calls, and modules with hooks: what they compute is imported, and they stay as
they are.
"""

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop.errors import SettingError
from blockprop.importers import from_torch
from tests.importers.against_torch import assert_gradients_equal, assert_outputs_equal
from tests.importers.module_state import SEEN, same, state_of

TABLES: dict[int, Tensor] = {}


@functools.lru_cache
def remembered_table(length: int) -> Tensor:
    return torch.arange(length).double()


class Stateful(nn.Module):
    """x W + a table of the length, which `table` keeps somewhere."""

    shared: dict[int, Tensor] = {}  # noqa: RUF012

    def __init__(self, table: Callable[["Stateful", int], Tensor]) -> None:
        super().__init__()
        self.linear, self.bias = nn.Linear(4, 4), nn.Parameter(torch.randn(9))
        self.own: dict[int, Tensor] = {}
        self.seen: list[Tensor] = []
        self.last: Tensor | None = None
        self.lock = threading.Lock()
        self.function = lambda x: self.linear(x)
        self.register_buffer("buffer", None, persistent=False)
        self.table = table

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x)
        self.seen.append(y)
        return y + self.table(self, x.shape[1])[:, None]


def in_dict(module: Stateful, n: int) -> Tensor:
    return module.own.setdefault(n, module.bias[:n] * 2)


def in_class(_: Stateful, n: int) -> Tensor:
    return Stateful.shared.setdefault(n, torch.arange(n).double())


def in_file(_: Stateful, n: int) -> Tensor:
    return TABLES.setdefault(n, torch.arange(n).double())


def in_cache(_: Stateful, n: int) -> Tensor:
    return remembered_table(n)


def in_attribute(module: Stateful, n: int) -> Tensor:
    if module.last is None or len(module.last) < n:
        module.last = torch.arange(n).double()
    return module.last[:n]


def in_buffer(module: Stateful, n: int) -> Tensor:
    if module.buffer is None or len(module.buffer) < n:
        module.register_buffer("buffer", torch.arange(n).double(), persistent=False)
    return module.buffer[:n]


@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("table", [in_dict, in_class, in_file, in_cache, in_attribute, in_buffer])
def test_what_a_module_keeps_is_computed_anew(table: Any, called_before: bool) -> None:
    module, x = Stateful(table).double().eval(), torch.randn(2, 5, 4, dtype=torch.float64)
    for store in (TABLES, Stateful.shared):
        store.clear()
    remembered_table.cache_clear()
    if called_before:
        module(x)  # with gradients
    before, tables = state_of(module), (dict(TABLES), dict(Stateful.shared), len(module.own), module.last)
    network = from_torch(module, x)
    assert same(before, state_of(module))
    assert same(list(tables), [dict(TABLES), dict(Stateful.shared), len(module.own), module.last])
    assert network.meta["free"] == {"x": [0, 1]}
    other = torch.randn(3, 7, 4, dtype=torch.float64)
    assert_outputs_equal(network, module, (other,), 1e-12)  # whatever the module has now must be real tensors
    assert {"linear.weight", "linear.bias"} <= set(network.parameters)
    assert ("bias.value" in network.parameters) == (table is in_dict)


class Collecting(nn.Module):
    """Collects what its layers give with hooks, which it installs at its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
        self.seen: list[Tensor] = []
        self.installed = False

    def install(self) -> None:
        for layer in self.layers:
            layer.register_forward_hook(lambda *seen: self.seen.append(seen[-1]))
        self.installed = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if not self.installed:
            self.install()
        self.seen.clear()
        for layer in self.layers:
            x = torch.relu(layer(x))
        return (x, *self.seen)


@pytest.mark.parametrize("called_before", [False, True])
def test_what_hooks_collect_are_outputs(called_before: bool) -> None:
    module, x = Collecting().double().eval(), torch.randn(2, 4, dtype=torch.float64)
    if called_before:
        module(x)
    before = state_of(module)
    network = from_torch(module, x)
    assert same(before, state_of(module))
    assert len(network.outputs) == 4
    assert network.meta["free"] == {"x": [0]}
    assert_outputs_equal(network, module, (torch.randn(5, 4, dtype=torch.float64),), 1e-12)
    assert_gradients_equal(network, module, (x,), 1e-12)


class Recorder:
    """What a user looks into a network with: it keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def look(self, part: nn.Module, inputs: Any, output: Any) -> None:
        self.seen.append(output)

    def double(self, part: nn.Module, inputs: Any, output: Any) -> Any:
        self.seen.append(output)
        return 2 * output


def into_file(*seen: Any) -> None:
    SEEN.append(seen)


def test_hooks_that_only_look_see_nothing_of_the_import() -> None:
    module, x, recorder = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.randn(2, 4), Recorder()
    module[0].register_forward_hook(recorder.look)
    module[1].register_forward_hook(into_file)
    module.register_forward_hook(functools.partial(recorder.look))
    network = from_torch(module, x)
    assert [node.name for node in network.nodes] == ["0", "1"]
    assert not SEEN
    assert not recorder.seen


@pytest.mark.parametrize("on_whole", [False, True])
def test_hooks_that_change_something_are_followed(on_whole: bool) -> None:
    module, x, recorder = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.randn(2, 4), Recorder()
    (module if on_whole else module[0]).register_forward_hook(recorder.double)
    module[1].register_forward_pre_hook(lambda _, inputs: (inputs[0] + 1,))
    network = from_torch(module, x)
    assert not recorder.seen
    assert_outputs_equal(network, module, (torch.randn(3, 4),), 1e-6)
    assert_gradients_equal(network, module, (x,), 1e-5)


def test_hooks_that_fail_are_left_out_with_a_word() -> None:
    def failing(*_: Any) -> None:
        raise ValueError("not today")

    module, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval(), torch.randn(2, 4)
    module[0].register_forward_hook(failing)
    with pytest.warns(UserWarning, match=r"without the hooks of 0: .*not today"):
        network = from_torch(module, x)
    assert len(network.nodes) == 2


class Elsewhere(Collecting):
    """Its hooks work on the numbers by another way than torch's operators."""

    def install(self) -> None:
        for layer in self.layers:
            layer.register_forward_hook(lambda *seen: self.seen.append(torch.tensor(seen[-1].detach().numpy().sum())))
        self.installed = True


def test_hooks_that_cannot_be_followed_are_named() -> None:
    module, x = Elsewhere().eval(), torch.randn(2, 4)
    module(x)
    with pytest.raises(SettingError, match=r"hooks of layers\.0, layers\.1"):
        from_torch(module, x)


class Counting(nn.Module):
    """Gives more at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.parts = nn.Linear(4, 4), {"first": 1.0}

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.parts[str(len(self.parts))] = 0.5
        return tuple(self.linear(x) * part for part in self.parts.values())


def test_a_module_that_changes_with_each_call_is_taken_as_it_is_now() -> None:
    module = Counting().eval()
    module(torch.randn(2, 4))
    assert len(from_torch(module, torch.randn(2, 4)).outputs) == 3
    assert len(module.parts) == 2
