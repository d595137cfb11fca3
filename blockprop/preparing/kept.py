"""Prepared networks that are used again, as long as what they were made of is what it was."""

import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import RuleMap
from blockprop.preparing.draft import METHODS
from blockprop.preparing.prepare import Prepared, prepare

MOST = 8
"""Prepared networks that a network keeps."""
_guard = threading.Lock()


class Origin:
    """What a prepared network was made of: blocks with their methods and settings, and all numbers of their tensors.

    made: leaner blocks that were made of them, which several prepared networks share.

    A sum over the bits of a tensor tells whether it was changed, in whatever way; the count of changes that torch keeps
    tells it sooner, but does not see those through `.data` or numpy.
    """

    def __init__(self, blocks: Iterable[Block]):
        self.blocks = tuple(blocks)
        self.made: dict[Any, Block] = {}
        self._seen = [*self._look()]
        self._sums = self._summed()

    def is_unchanged(self) -> bool:
        """Whether all is as it was."""
        return self._seen == [*self._look()] and self._sums == self._summed()

    def _look(self) -> Iterator[Any]:
        for block in self.blocks:
            yield tuple(getattr(type(block), name) for name in METHODS)
            for name, value in vars(block).items():
                if isinstance(value, Tensor):
                    yield name, id(value), value.data_ptr(), _version(value), value.shape, value.dtype
                elif isinstance(value, bool | int | float | str | tuple | list | None) or name in METHODS:
                    yield name, [*value] if isinstance(value, list) else value

    def _summed(self) -> list[int]:
        tensors = [value for block in self.blocks for value in vars(block).values() if isinstance(value, Tensor)]
        return torch.stack([_bits(tensor) for tensor in tensors]).tolist() if tensors else []


def _version(tensor: Tensor) -> int:
    with suppress(RuntimeError):  # made in torch's inference mode
        return tensor._version
    return 0


def _bits(tensor: Tensor) -> Tensor:
    """The sum of its memory, as whole numbers of eight bytes, modulo 2⁶⁴."""
    raw = tensor.detach().contiguous().view(-1).view(torch.uint8)
    raw = raw.clone() if raw.storage_offset() % 8 else raw
    whole = raw.numel() // 8 * 8
    total = raw[:whole].view(torch.int64).sum()
    return total if whole == raw.numel() else total + raw[whole:].sum()


def prepared(
    network: Network,
    keep: Iterable[str] | None = None,
    wrt: str | Iterable[str] = "inputs",
    rules: RuleMap | None = None,
    without: Collection[str] = (),
) -> Prepared:
    """What `prepare` gives; the same again for the same question, if all of the network is as it was."""
    keys = None if keep is None else tuple(keep)
    question = keys, network.wanted(wrt), frozenset(rules or ()), frozenset(without)
    with _guard:
        kept = network.prepared
        known = dict.fromkeys(source for source, _ in kept.values())
        source = next((source for source in known if source.is_unchanged()), None)
        if source is None:
            kept.clear()
            source = Origin(network.unique_blocks.values())
        _, lean = kept.pop(question, (source, None))
        lean = lean or prepare(network, keys, wrt, rules, without, source.made)
        kept[question] = source, lean  # the last one used stands last
        if len(kept) > MOST:
            del kept[next(iter(kept))]
        return lean
