"""Prepared networks that are used again, as long as what they were made of is what it was."""

import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import RuleMap
from blockprop.preparing.budget import bytes_named
from blockprop.preparing.draft import METHODS
from blockprop.preparing.prepare import Prepared, prepare

MOST = 8
"""Prepared networks that a network keeps."""
_guard = threading.Lock()


class Origin:
    """What prepared networks were made of: blocks with their methods and settings, and all numbers of their tensors.

    A sum over the bits of a tensor tells whether it was changed, in whatever way; the count of changes that torch keeps
    tells it sooner, but does not see those through `.data` or numpy. What no rewrite has changed follows by itself.
    made: leaner blocks that were made of them, which several prepared networks share.
    """

    def __init__(self) -> None:
        self.made: dict[Any, Block] = {}
        self._seen: dict[int, tuple[Block, list[Any], list[int]]] = {}

    def watch(self, blocks: Iterable[Block]) -> None:
        """Note how these are now, if they are not known."""
        for block in blocks:
            if id(block) not in self._seen:
                self._seen[id(block)] = block, _look(block), _numbers(_sums(block))

    def is_unchanged(self) -> bool:
        """Whether all is as it was noted."""
        if any(_look(block) != seen for block, seen, _ in self._seen.values()):
            return False
        sums = [total for block, _, _ in self._seen.values() for total in _sums(block)]
        noted = [total for _, _, totals in self._seen.values() for total in totals]
        return _numbers(sums) == noted


def _look(block: Block) -> list[Any]:
    """Its methods and settings, and which tensors it has."""
    seen: list[Any] = [getattr(type(block), name) for name in METHODS]
    for name, value in vars(block).items():
        if isinstance(value, Tensor):
            seen.append((name, id(value), value.data_ptr(), _version(value), value.shape, value.dtype))
        elif isinstance(value, bool | int | float | str | tuple | list | None) or name in METHODS:
            seen.append((name, [*value] if isinstance(value, list) else value))
    return seen


def _sums(block: Block) -> list[Tensor]:
    return [_bits(value) for value in vars(block).values() if isinstance(value, Tensor)]


def _numbers(sums: list[Tensor]) -> list[int]:
    return torch.stack(sums).tolist() if sums else []


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
    memory: int | str | None = None,
) -> Prepared:
    """What `prepare` gives; the same again for the same question, if all of the network is as it was."""
    keys = None if keep is None else tuple(keep)
    limit = None if memory is None else bytes_named(memory)
    question = keys, network.wanted(wrt), frozenset(rules or ()), frozenset(without), limit
    with _guard:
        kept = network.prepared
        if not kept or not next(iter(kept.values()))[0].is_unchanged():
            kept.clear()
        origin, lean = kept.pop(question, (None, None))
        origin = origin or next((origin for origin, _ in kept.values()), None) or Origin()
        if lean is None:
            lean = prepare(network, keys, wrt, rules, without, limit, origin.made)
            origin.watch(lean.draft.replaced)
        kept[question] = origin, lean  # the last one used stands last
        if len(kept) > MOST:
            del kept[next(iter(kept))]
        return lean
