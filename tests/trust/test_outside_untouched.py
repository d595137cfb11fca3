"""An import never changes tensors outside of the user's module, wherever its forward finds them and writes to them."""

import functools
import sys
from collections import UserDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from blockprop.errors import BlockpropError
from blockprop.importers import from_torch

TABLE, PAIR, RUNNING = torch.ones(2), (torch.ones(2), 1), nn.BatchNorm1d(2)
STORE: dict[str, list[Tensor]] = {"a": [torch.ones(2)]}
RECENT = deque([torch.ones(2)])


SET, FROZEN_SET, DEEP = {torch.ones(2)}, frozenset([torch.ones(2)]), [[[[[[torch.ones(2)]]]]]]
NAMESPACE, ARRAY = SimpleNamespace(t=torch.ones(2)), np.ones(2)
OTHER = ModuleType("tests.trust.other_tables")
sys.modules[OTHER.__name__] = OTHER
OTHER.TENSOR = torch.ones(2)  # type: ignore[attr-defined]


class Settings:
    table = torch.ones(2)

    class Inner:
        inner_table = torch.ones(2)


@dataclass
class Held:
    t: Tensor
    more: Any = None

    def scale(self, x: Tensor) -> Tensor:
        return x * self.t.mul_(0.5)

    def __call__(self, x: Tensor) -> Tensor:
        return self.scale(x)


@dataclass(frozen=True, slots=True)
class Frozen:
    t: Tensor


class Named(NamedTuple):
    t: Tensor


class Listing(list[Tensor]):
    """A list of somebody's own."""


HELD_BY_OBJECT, FROZEN = Held(torch.ones(2), [Held(torch.ones(2))]), Frozen(torch.ones(2))
NAMED, LISTING, USER_DICT = Named(torch.ones(2)), Listing([torch.ones(2)]), UserDict(t=torch.ones(2))
BOUND, PARTIAL = Held(torch.ones(2)).scale, functools.partial(lambda t, x: x * t.mul_(0.5), torch.ones(2))
MODULES = {nn.BatchNorm1d(2)}


def with_default(x: Tensor, scale: Tensor = torch.ones(2)) -> Tensor:  # noqa: B008
    return x * scale.mul_(0.5)


def holding() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    held = torch.ones(2)
    return lambda x: x * held.mul_(0.5), held


HOLDING, HELD = holding()


def with_keyword(x: Tensor, *, scale: Tensor = torch.ones(2)) -> Tensor:  # noqa: B008
    return x * scale.mul_(0.5)


def with_attribute(x: Tensor) -> Tensor:
    return x * with_attribute.t.mul_(0.5)  # type: ignore[attr-defined,no-any-return]


with_attribute.t = torch.ones(2)  # type: ignore[attr-defined]


def holding_deeply() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    held = [torch.ones(2)]

    def inner(x: Tensor) -> Tensor:
        return x * held[0].mul_(0.5)

    @functools.wraps(inner)
    def outer(x: Tensor) -> Tensor:
        return inner(x)

    return outer, held[0]


HOLDING_DEEPLY, HELD_DEEPLY = holding_deeply()


class Writing(nn.Module):
    """Writes to something that is not its own whenever it runs."""

    kept = torch.ones(2)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return WRITES[self.name](x)


WRITES: dict[str, Callable[[Tensor], Any]] = {
    "a file's": lambda x: x * TABLE.mul_(0.5),
    "its data": lambda x: x * TABLE.data.mul_(0.5),
    "its numbers": lambda x: x * float(TABLE.numpy().fill(0.5) is None),
    "in a tuple": lambda x: x * PAIR[0].mul_(0.5),
    "in containers": lambda x: x * STORE["a"][0].mul_(0.5),
    "in a queue": lambda x: x * RECENT[0].mul_(0.5),
    "in another module": lambda x: RUNNING(x),
    "of its class": lambda x: x * Writing.kept.mul_(0.5),
    "of another class": lambda x: x * Settings.table.mul_(0.5),
    "a default": lambda x: with_default(x),
    "in a closure": lambda x: HOLDING(x),
    "in a list in the closure of a function that is wrapped": lambda x: HOLDING_DEEPLY(x),
    "a keyword's default": lambda x: with_keyword(x),
    "of a function": lambda x: with_attribute(x),
    "in a set": lambda x: x * next(iter(SET)).mul_(0.5),
    "in a frozen set": lambda x: x * next(iter(FROZEN_SET)).mul_(0.5),
    "in lists of lists": lambda x: x * DEEP[0][0][0][0][0][0].mul_(0.5),
    "of a dataclass": lambda x: x * HELD_BY_OBJECT.t.mul_(0.5),
    "in a list of a dataclass": lambda x: x * HELD_BY_OBJECT.more[0].t.mul_(0.5),
    "of one that is called": lambda x: HELD_BY_OBJECT(x),
    "of a frozen dataclass with slots": lambda x: x * FROZEN.t.mul_(0.5),
    "of a named tuple": lambda x: x * NAMED.t.mul_(0.5),
    "of a namespace": lambda x: x * NAMESPACE.t.mul_(0.5),
    "in a list of one's own": lambda x: x * LISTING[0].mul_(0.5),
    "in a dict of one's own": lambda x: x * USER_DICT["t"].mul_(0.5),
    "of a method's object": lambda x: BOUND(x),
    "of a partial function": lambda x: PARTIAL(x),
    "in a set of modules": lambda x: next(iter(MODULES))(x),
    "of a class in a class": lambda x: x * Settings.Inner.inner_table.mul_(0.5),
    "of another file": lambda x: x * OTHER.TENSOR.mul_(0.5),
    "an array": lambda x: x * float(ARRAY.fill(0.5) is None),
}


def tensors() -> list[Tensor]:
    assert with_default.__defaults__ is not None
    classes = [Writing.kept, Settings.table, with_default.__defaults__[0], HELD]
    assert with_keyword.__kwdefaults__ is not None
    classes += [HELD_DEEPLY, *with_keyword.__kwdefaults__.values(), with_attribute.t, Settings.Inner.inner_table]  # type: ignore[attr-defined]
    classes += [*SET, *FROZEN_SET, DEEP[0][0][0][0][0][0], HELD_BY_OBJECT.t, HELD_BY_OBJECT.more[0].t, FROZEN.t]
    classes += [NAMED.t, NAMESPACE.t, LISTING[0], USER_DICT["t"], BOUND.__self__.t, PARTIAL.args[0], OTHER.TENSOR]
    classes += [*next(iter(MODULES)).state_dict().values(), torch.from_numpy(ARRAY)]
    return [TABLE, PAIR[0], STORE["a"][0], RECENT[0], *RUNNING.state_dict().values(), *classes]


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("interrupted", [False, True])
def test_what_it_writes_to_outside_stays(name: str, interrupted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(module: nn.Module, arguments: Any, *_: Any, **__: Any) -> None:
        module(*arguments)
        raise KeyboardInterrupt

    if interrupted:
        monkeypatch.setattr(torch.export, "export", interrupt)
    before = [(x.data_ptr(), x._version, x.clone()) for x in tensors()]
    with suppress(BlockpropError, KeyboardInterrupt):
        from_torch(Writing(name).eval(), torch.ones(3, 2))
    after = [(x.data_ptr(), x._version, x.clone()) for x in tensors()]
    for (place, version, numbers), (place_now, version_now, numbers_now) in zip(before, after, strict=True):
        assert (place, version) == (place_now, version_now)
        assert torch.equal(numbers, numbers_now)


def test_what_it_only_reads_outside_is_read() -> None:
    class Reading(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * TABLE + STORE["a"][0] + PAIR[0] * Settings.table

    x = torch.rand(3, 2)
    module = Reading().eval()
    assert torch.equal(from_torch(module, x)(x), module(x))
