"""An import never changes tensors outside of the user's module, wherever its forward finds them and writes to them."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop.errors import BlockpropError
from blockprop.importers import from_torch

TABLE, PAIR, RUNNING = torch.ones(2), (torch.ones(2), 1), nn.BatchNorm1d(2)
STORE: dict[str, list[Tensor]] = {"a": [torch.ones(2)]}
RECENT = deque([torch.ones(2)])


class Settings:
    table = torch.ones(2)


def with_default(x: Tensor, scale: Tensor = torch.ones(2)) -> Tensor:  # noqa: B008
    return x * scale.mul_(0.5)


def holding() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    held = torch.ones(2)
    return lambda x: x * held.mul_(0.5), held


HOLDING, HELD = holding()


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
}


def tensors() -> list[Tensor]:
    assert with_default.__defaults__ is not None
    classes = [Writing.kept, Settings.table, with_default.__defaults__[0], HELD]
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
