"""A job's network: its weights stay what they are while the job lasts, and it computes no more than is asked for."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.plan import RuleMap
from blockprop.engine.room import in_bytes
from blockprop.engine.trace import Trace
from blockprop.errors import BlockpropError, shape
from blockprop.preparing.budget import Budget, TooLittleMemory, bytes_named, forward_peak, from_all, rounded_up
from blockprop.preparing.prepare import NATIVE
from blockprop.preparing.rows import narrowed

COPIES = 2
"""Of its input, that a job makes besides: moved or changed at random, and the mean of several gradients."""
SomeChannels = Mapping[str, Collection[int]]
"""Channels by node."""


def for_budget(network: Network, keep: Iterable[str], rules: RuleMap | None, memory: int | None) -> Network:
    """Prepared; where a budget counts all tensors that are alive, by blocks that make theirs one by one."""
    return network.prepare(keep, rules=rules, without=() if memory is None else (NATIVE,))


class Job:
    """A network that is asked for gradients by its input again and again, prepared for the last question.

    memory: bytes that a gradient may take beside the weights, or as "500 MB"; so many copies of the input among them.
    """

    def __init__(self, network: Network, memory: int | str | None = None, copies: int = COPIES):
        self.network, self.copies = network, copies
        self.memory = None if memory is None else bytes_named(memory)
        self._prepared: dict[Any, tuple[Network, Budget | None]] = {}

    @torch.no_grad()
    def forward(
        self, x: Tensor, keep: Iterable[str], rules: RuleMap | None = None, rows: SomeChannels | None = None
    ) -> tuple[Network, Trace]:
        """A forward pass to go back from: (the network to go back through, its trace).

        keep: nodes that are looked at, and those whose errors are wanted.   rules: by which it is gone back.
        rows: the channels that are wanted of nodes of which not all are.
        Raises SettingError for a memory that is too little, with the least that would do.
        """
        keys = tuple(dict.fromkeys(keep))
        lean, budget = self._asked(x, keys, rules, rows or {})
        if budget is None:
            return lean, lean.record((x,), keys, False)
        try:
            return lean, budget.record((x,), keys, from_all(keys, rules))
        except TooLittleMemory:
            raise
        except BlockpropError:
            lean.values(x, keep=keys)  # which names the network's own node, if it raises
            raise

    def expected(
        self, x: Tensor, keep: Iterable[str], rules: RuleMap | None = None, rows: SomeChannels | None = None
    ) -> int | None:
        """The bytes that a gradient will take, where a memory was given. SettingError if that is too little."""
        if self.memory is None:
            return None
        keys = tuple(dict.fromkeys(keep))
        _, budget = self._asked(x, keys, rules, rows or {})
        return None if budget is None else budget.expected((x,), keys, from_all(keys, rules))

    def require_plain(self, x: Tensor, keep: Iterable[str]) -> None:
        """SettingError unless the memory is enough for a forward pass of the network as it is, unprepared."""
        if self.memory is None:
            return
        least = forward_peak(self.network, (x,), tuple(keep)) + self.copies * x.numel() * x.element_size()
        if least > self.memory:
            raise TooLittleMemory(
                f"{in_bytes(self.memory)} of memory are too little for {shape(x)}: finding out where the network's "
                f"places are takes at least {in_bytes(rounded_up(least))}",
                least,
            )

    def _asked(
        self, x: Tensor, keep: tuple[str, ...], rules: RuleMap | None, rows: SomeChannels
    ) -> tuple[Network, Budget | None]:
        size = 0 if self.memory is None else x.numel() * x.element_size()
        key = keep, frozenset(rules or ()), tuple((name, tuple(numbers)) for name, numbers in rows.items()), size
        if key not in self._prepared:
            lean = narrowed(for_budget(self.network, keep, rules, self.memory), rows)
            budget = None if self.memory is None else Budget(lean, self.memory, self.copies * size)
            self._prepared = {key: (lean, budget)}
        return self._prepared[key]
