"""Prepared networks that are used again, as long as what they were made of is what it was."""

import functools
import operator
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import RuleMap
from blockprop.native.memory import is_in_memory
from blockprop.preparing.budget import bytes_named
from blockprop.preparing.draft import METHODS
from blockprop.preparing.native.kernels import kernels
from blockprop.preparing.prepare import Prepared, prepare

MOST = 8
"""Prepared networks that a network keeps."""
GOLDEN, LAST = 0x9E3779B1, 0xFFFFFFFF
"""An odd number, by which places are told apart; all bits of four bytes."""
PART = 2**17
"""Numbers of eight bytes that are added up at once."""
_guard = threading.Lock()


class Origin:
    """What prepared networks were made of: blocks with their methods and settings, and all numbers of their tensors.

    A sum over the bits of a tensor tells whether it was changed, numbers exchanged included; the count that torch keeps
    tells it sooner, but does not see those through `.data` or numpy. What no rewrite has changed follows by itself.
    made: leaner blocks that were made of them, which several prepared networks share.
    """

    def __init__(self) -> None:
        self.made: dict[Any, Block] = {}
        self._blocks: dict[int, Block] = {}
        self._methods: dict[type[Block], list[Any]] = {}
        self._values: list[Any] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._tensors: list[Tensor] = []
        self._looks: list[Any] = []
        self._versions: list[Any] = []
        self._sums: list[int] = []

    def watch(self, blocks: Iterable[Block]) -> None:
        """Note how these are now, if they are not known."""
        new = {id(block): block for block in blocks if id(block) not in self._blocks}
        if not new:
            return
        self._blocks |= new
        self._methods |= {type(block): _methods(type(block)) for block in new.values()}
        self._values = self._settings()
        self._lists = [(value, [*value]) for value in self._values if isinstance(value, list)]
        self._tensors = [value for value in self._values if isinstance(value, Tensor)]
        self._looks = [_look(block) for block in self._blocks.values()]
        self._versions, self._sums = _versions(self._tensors), sums_of_bits(self._tensors)

    def is_unchanged(self) -> bool:
        """Whether all is as it was noted: the same objects, mostly; else others that are equal."""
        if any(_methods(kind) != methods for kind, methods in self._methods.items()):
            return False
        values = self._settings()
        is_same = len(values) == len(self._values) and all(map(operator.is_, values, self._values))
        if is_same and all(value == before for value, before in self._lists):
            is_unchanged = _versions(self._tensors) == self._versions
        else:
            is_unchanged = [_look(block) for block in self._blocks.values()] == self._looks
        return is_unchanged and sums_of_bits(self._tensors) == self._sums

    def _settings(self) -> list[Any]:
        """What all blocks are and hold, one after the other."""
        return [value for block in self._blocks.values() for value in (type(block), *vars(block).values())]


def _methods(kind: type[Block]) -> list[Any]:
    methods = [getattr(kind, name) for name in METHODS]
    return [(method, getattr(method, "__code__", None)) for method in methods]


def _versions(tensors: Iterable[Tensor]) -> list[Any]:
    return [(tensor.data_ptr(), _version(tensor), tensor.shape, tensor.dtype) for tensor in tensors]


def _look(block: Block) -> list[Any]:
    """Its type and settings, and which tensors it has."""
    seen: list[Any] = [type(block)]
    for name, value in vars(block).items():
        if isinstance(value, Tensor):
            seen.append((name, id(value), value.data_ptr(), _version(value), value.shape, value.dtype))
        elif isinstance(value, bool | int | float | str | tuple | list | None) or name in METHODS:
            seen.append((name, [*value] if isinstance(value, list) else value))
    return seen


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version  # which is not counted in torch's inference mode


def sums_of_bits(tensors: Sequence[Tensor]) -> list[int]:
    """Of each a sum over its memory in which each place has a share of its own, modulo 2⁶⁴ as sums.c has it."""
    found = kernels()
    if found and all(is_in_memory(tensor) and tensor.is_contiguous() for tensor in tensors):
        return found.sums([tensor.data_ptr() for tensor in tensors], [tensor.nbytes for tensor in tensors])
    return torch.stack([_sum_of_bits(tensor) for tensor in tensors]).tolist() if tensors else []


def _sum_of_bits(tensor: Tensor) -> Tensor:
    raw = tensor.detach().contiguous().view(-1).view(torch.uint8)
    raw = F.pad(raw, (0, -len(raw) % 8)) if len(raw) % 8 else raw
    numbers = (raw.clone() if raw.storage_offset() % 8 else raw).view(torch.int64)
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for i, part in enumerate(numbers.split(PART)):
        mixed = (part >> 32).add_(part)  # signs alone would stand in the last bit that counts
        total += mixed.mul_(_shares(len(part), tensor.device)).sum() * (2 * i + 1)
    return total


@functools.lru_cache(4)
def _shares(count: int, device: torch.device) -> Tensor:
    """What each place of a part is multiplied with: never 0, and never the same twice."""
    places = torch.arange(1, count + 1, device=device) * GOLDEN & LAST
    return places ^ places >> 16


def prepared(
    network: Network,
    keep: Iterable[str] | None = None,
    wrt: str | Iterable[str] = "inputs",
    rules: RuleMap | None = None,
    without: str | Iterable[str] = (),
    memory: int | str | None = None,
) -> Prepared:
    """What `prepare` gives; the same again for the same question, if all of the network is as it was.

    Of a prepared network: what its origin gives, by default for the same outputs.
    """
    keys = None if keep is None else tuple(keep)
    if isinstance(network, Prepared):
        keys, network = network.outputs if keys is None else keys, _made_of(network)
    keys = None if keys is None else network._require(keys)
    wrt = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    without = frozenset([without] if isinstance(without, str) else without)
    limit = None if memory is None else bytes_named(memory)
    found = kernels()
    asked = None if found is None else found.set
    question = keys, network.wanted(wrt), frozenset(rules or ()), without, limit, asked
    with _guard:
        kept = network.prepared
        if not kept or not next(iter(kept.values()))[0].is_unchanged():
            kept.clear()
        origin, lean = kept.pop(question, (None, None))
        origin = origin or next((origin for origin, _ in kept.values()), None) or Origin()
        if lean is None:
            lean = prepare(network, keys, wrt, rules, without, limit, origin.made)
            origin.watch(node.block for node in lean.replaced)
        kept[question] = origin, lean  # the last one used stands last
        if len(kept) > MOST:
            del kept[next(iter(kept))]
        return lean


def _made_of(lean: Prepared) -> Network:
    """The network whose values it has: its origin, or, if that was changed meanwhile, its own leaner blocks."""
    with _guard:
        origin = next((origin for origin, known in lean.origin.prepared.values() if known is lean), None)
        if origin is not None and origin.is_unchanged():
            return lean.origin
    return Network(lean.draft.nodes.values(), lean.inputs, lean.outputs, lean.meta)
