"""Whether there is room for what a network asks for that came from a file: looked at before it runs.

A file of 400 bytes may ask for any number of bytes. So the network is run on torch's "meta" device first (sizes without
numbers, so it costs nothing), all that the blocks make is counted as long as it lives, and at the node where it is too
much the run is refused: more than SHARE of the memory that is there, or, unless the file is trusted, out of proportion
to what was given, which is more than TIMES the bytes of inputs and weights, and than ALWAYS. This happens once for each
shape of the inputs.
"""

import copy
import math
import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from blockprop.engine.block import Block
from blockprop.engine.passes import Caller, called
from blockprop.engine.plan import ForwardStep
from blockprop.errors import ShapeError

SHARE = 0.5
"""Of the memory that is there: a backward pass takes as much again."""
BYTES = 64
"""For each number of an output: eight, and as much for seven others that the block makes on the way."""
SMALL = 64 * 2**20
"""Bytes for which nobody asks how much is there."""
TIMES = 1000
"""The bytes of inputs and weights: layers of a hundred channels, all alive at once, take about as much."""
ALWAYS = 2**29
"""Bytes that are never out of proportion."""
MOST_SHAPES = 10_000
"""That are remembered."""


class Room:
    """What was looked at already: by shapes of inputs, the nodes whose sizes follow from numbers, not from shapes.

    trusted: whether what is out of proportion is allowed.
    """

    def __init__(self, trusted: bool = False) -> None:
        self.trusted = trusted
        self._seen: dict[Any, frozenset[str]] = {}

    def require(
        self, plan: Sequence[ForwardStep], values: dict[str, Tensor], kind: Any, keeps: bool, call: Caller = called
    ) -> Caller | None:
        """ShapeError if the plan needs more memory than there is; else what is to call the blocks in place of `call`.

        values: the inputs by name.   kind: what the plan follows from.   keeps: whether what blocks save is kept.
        """
        key = (kind, keeps, *[(x.shape, x.dtype) for x in values.values()])
        unknown = self._seen.get(key)
        if unknown is None:
            if len(self._seen) > MOST_SHAPES:
                self._seen.clear()
            unknown = self._seen[key] = self._looked(plan, values, keeps)
        if not unknown:
            return None

        def watched(step: ForwardStep, inputs: list[Tensor]) -> tuple[Any, Any]:
            if step.name in unknown:
                self._require_one(step, inputs)
            return call(step, inputs)

        return watched

    def _require_one(self, step: ForwardStep, inputs: list[Tensor]) -> None:
        key = (step.name, *[(x.shape, x.dtype) for x in inputs])
        if key not in self._seen:
            self._looked([step], dict(zip(step.node.inputs, inputs, strict=True)), False)
            self._seen[key] = frozenset()

    def _looked(self, plan: Sequence[ForwardStep], values: dict[str, Tensor], keeps: bool) -> frozenset[str]:
        limit = Limit(plan, values, self.trusted)
        return frozenset() if _is_plenty(plan, values, limit) else _look(plan, values, keeps, limit)


def room_of(blocks: Iterable[Block]) -> Room | None:
    """What looks for a network of these blocks; None if no file says what they do."""
    files = [block for block in blocks if block.from_file]
    return Room(all(block.from_trusted_file for block in files)) if files else None


def bounded(blocks: Iterable[Block], trusted: bool = False) -> Room:
    """What looks for a network of these blocks, which are a file's from now on."""
    for block in blocks:
        block.from_file, block.from_trusted_file = True, trusted
    return Room(trusted)


class Limit:
    """The bytes that a plan may take, given these inputs."""

    def __init__(self, plan: Iterable[ForwardStep], inputs: dict[str, Tensor], trusted: bool):
        self._plan, self._inputs, self._trusted = plan, inputs, trusted
        self.in_words = ""

    @cached_property
    def bytes(self) -> int:
        """At least SMALL, for which nothing is asked."""
        there = max(SMALL, int(SHARE * free_memory(_device_of(self._inputs))))
        given = sum(x.numel() * x.element_size() for x in self._inputs.values()) + sum(
            tensor.numel() * tensor.element_size()
            for step in self._plan
            for tensor in (step.block.parameters | step.block.buffers).values()
        )
        in_proportion = max(ALWAYS, TIMES * given)
        if self._trusted or there <= in_proportion:
            self.in_words = f"{in_bytes(there)} are allowed to a network from a file, half of what is there"
            return there
        self.in_words = (
            f"{in_bytes(in_proportion)} are allowed to a network from a file for {in_bytes(given)} of inputs and "
            "weights, unless it is loaded as one from a source that you trust, with opaque=True"
        )
        return in_proportion


def _is_plenty(plan: Iterable[ForwardStep], inputs: dict[str, Tensor], limit: Limit) -> bool:
    """Whether the blocks themselves say that what they make is little, so that no look is needed, which takes a while:
    torch imports much for it."""
    shapes = {name: tuple(x.shape) for name, x in inputs.items()}
    count = 0
    for step in plan:
        given = [shapes.get(source) for source in step.node.inputs]
        if step.key is None or not given or None in given or not _is_ours(step.block):
            return False
        try:
            shape = step.block.at_most(*given)  # type: ignore[arg-type]
            count += step.block.inner_numbers(*given)  # type: ignore[arg-type]
        except (ArithmeticError, LookupError, TypeError, ValueError):  # of inputs that do not fit, or such settings
            return False
        if shape is None:
            return False
        shapes[step.key] = shape
        count += math.prod(shape)
    return BYTES * count <= SMALL or BYTES * count <= limit.bytes


def _device_of(inputs: dict[str, Tensor]) -> torch.device:
    return next(iter(inputs.values())).device if inputs else torch.device("cpu")


def _look(plan: Iterable[ForwardStep], inputs: dict[str, Tensor], keeps: bool, limit: Limit) -> frozenset[str]:
    """Run on the device "meta"; the nodes of which that cannot tell the sizes."""
    values = {
        name: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta") for name, x in inputs.items()
    }
    saved, unknown = [], set()
    counter = _Counter(limit)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.device("meta"), counter:
        for step in plan:
            if any(source not in values for source in step.node.inputs) or not _is_ours(step.block):
                unknown.add(step.name)
                continue
            try:
                output, kept = weightless(step.block).forward(*[values[source] for source in step.node.inputs])
                values.update(zip(step.node.keys, output if step.key is None else (output,), strict=True))
            except Exception:  # numbers are needed to tell the sizes, or the inputs do not fit: the real run says so
                unknown.add(step.name)
                output = kept = None
            if counter.over:
                raise ShapeError(
                    f"node {step.name!r}: {step.block!r} would make the network take {in_bytes(counter.over)}, and "
                    f"{limit.in_words}; smaller or fewer inputs at once take less"
                )
            if keeps:
                saved.append(kept)
            del output, kept
            for name in step.dead:
                values.pop(name, None)
    return frozenset(unknown)


def weightless(block: Block) -> Block:
    """The block without its numbers, on torch's device "meta"."""
    twin = copy.copy(block)
    for name, tensor in vars(block).items():
        if isinstance(tensor, Tensor):
            setattr(twin, name, tensor.to("meta"))
    twin.from_file = False  # it takes no memory
    if hasattr(twin, "generator"):
        twin.generator = torch.Generator(device="cpu")  # drawing from the block's own would change what it draws next
    return twin


def _is_ours(block: Block) -> bool:
    """People's own code is not run for a look."""
    return type(block).__module__.partition(".")[0] == __name__.partition(".")[0]


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors on the device "meta" that are made, as long as they live.

    most: bytes at one time.   there: tensors that are there already, and do not count.
    """

    def __init__(self, there: Iterable[Tensor] = ()):
        super().__init__()
        self.most = self._alive = 0
        self._known = {id(tensor.untyped_storage()) for tensor in there}

    def see(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch for each of its operators."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._require(tensor.numel() * tensor.element_size())  # of a view, which may hold one number for many
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        place, size = id(storage), storage.nbytes()
        if place in self._known:
            return
        self._known.add(place)
        weakref.finalize(storage, self._forget, place, size).atexit = False
        self._alive += size
        self.most = max(self.most, self._alive)
        self._require(self._alive)

    def _require(self, size: int) -> None:
        """Whether so much may be."""

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self._alive -= size


class _Counter(Alive):
    """over: the bytes that were alive, or wanted for one tensor, if it was too much."""

    def __init__(self, limit: Limit):
        super().__init__()
        self._limit, self.over = limit, 0

    def _require(self, size: int) -> None:
        if size > SMALL and size > self._limit.bytes:
            self.over = max(self.over, size)
            raise MemoryError("no room")


# Set here, because torch wraps what a class statement holds, and the wrapper imports its compiler, which takes seconds.
Alive.__torch_dispatch__ = Alive.see  # type: ignore[method-assign, assignment]


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on the device."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    return min(_free_in_machine(), _free_in_group(), _free_in_process())


def _free_in_machine() -> int:
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 8 * 2**30


def _free_in_group() -> int:
    """Of the control group, as containers have them."""
    with suppress(OSError, ValueError):
        folder = Path("/sys/fs/cgroup")
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        return max(limit - used, 0)
    return sys.maxsize


def _free_in_process() -> int:
    """Of the addresses that `ulimit -v` allows."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            return max(limit - pages * resource.getpagesize(), 0)
    return sys.maxsize


def in_bytes(count: int) -> str:
    """ "1.5 GB"; "4 bytes"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size <= count < 1e15:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes" if count < 1e3 else f"{count:.0e} bytes"
