"""Sizes for the free axes of a model's inputs: two trials each, so that the axes can be told from fixed ones.

A file says which axes are free, but not which sizes the model can take: a network that ends in a fixed Reshape takes no
other. So sizes are tried until a walk over the model succeeds, first with all axes free, then with fewer.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks import Reshape
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, GraphError, SettingError, UnsupportedError, suggestion
from blockprop.importers.graph import Graph
from blockprop.importers.onnx.interpret import OnnxInterpreter
from blockprop.importers.onnx.model import Given, Model
from blockprop.importers.symbols import BATCH_TRIALS, Symbol

FACTORS = (2, 3, 5, 7, 11, 13, 17, 19)
"""By how much the second trial enlarges the other free axes."""
STARTS = (224, 256, 299, 320, 32, 28, 64, 96, 512, 640, 16, 8, 1)
"""Heights and widths that are tried for the first trial."""
LENGTHS = (16, 32, 10, 128, 50, 100, 256, 8, 512, 1)
"""Sizes that are tried for the axes of inputs with fewer than four: sequences."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Sizes that are tried for a batch that turns out to be fixed."""
MOST_VISITS = 200_000
"""Nodes that are walked over at most, in all walks together."""
LARGEST_INPUT = 2**32
"""Elements of an input."""


class Place(NamedTuple):
    """An axis of an input."""

    input: str
    axis: int


@dataclass
class Free:
    """A size that the file leaves free, at all places that share it. size: what the user said, or None."""

    places: list[Place] = field(default_factory=list)
    size: int | None = None

    @property
    def is_batch(self) -> bool:
        """Whether it is the first axis of an input that has others."""
        return all(place.axis == 0 for place in self.places)


class FinishedWalk(NamedTuple):
    """A walk over the model that succeeded, or got to the end but for operators that are not supported.

    trials: the two shapes of each input   free: names of the sizes that may vary   start, batch: where it began
    smaller: sizes that the second trial reduced, because the model has a largest one
    fixed: for each size that the file leaves free and the model does not, its places, and what fixes it
    """

    interpreter: OnnxInterpreter
    outputs: list[Any]
    trials: dict[str, tuple[tuple[int, ...], ...]]
    free: tuple[str, ...]
    start: int
    batch: int
    smaller: AbstractSet[str]
    fixed: Mapping[str, tuple[Sequence[Place], str]] = {}


def search(model: Model, sizes: Mapping[str, Any]) -> FinishedWalk:
    """A walk over the model with as many free axes as it allows; the error of the walk that came furthest if none."""
    givens = _with_shapes(model, sizes)
    free = _free_sizes(givens, sizes)
    tried = _Tries(model, givens)
    for start in _starts(free):
        walk = tried.walk(free, tuple(free), start) or (tried.walk(free, (), start) if free else None)
        if walk:
            return walk if walk.free == tuple(free) else _loosened(tried, free, walk)
        if tried.is_hopeless:
            break
    batches = BATCHES[1:] if any(size.is_batch for size in free.values()) else ()
    for start, batch in itertools.product(range(3), batches):
        walk = None if tried.is_hopeless else tried.walk(free, (), start, batch)
        if walk:
            return _loosened(tried, free, walk)
    assert tried.furthest is not None
    names = ", ".join(f"{name!r}: …" for name in free)
    hint = f"; sizes={{{names}}} says which sizes to start with" if free else ""
    raise type(tried.furthest)(f"{tried.furthest}{hint}")


def _starts(free: Mapping[str, Free]) -> Iterable[int]:
    """Which entry of STARTS and LENGTHS to begin with."""
    searched = any(not size.is_batch and size.size is None for size in free.values())
    return range(max(len(STARTS), len(LENGTHS)) if searched else 1)


def _loosened(tried: "_Tries", free: Mapping[str, Free], walk: FinishedWalk) -> FinishedWalk:
    """Let one axis after the other vary, as long as the walk succeeds."""
    reasons = dict.fromkeys(free, "")
    for name in list(free)[:16]:
        names = (*walk.free, name)
        larger = tried.walk(free, names, walk.start, walk.batch, walk.smaller)
        reasons[name] = tried.why_not(free[name])
        walk = larger or tried.walk(free, names, walk.start, walk.batch, {*walk.smaller, name}) or walk
    fixed = {name: (free[name].places, reason) for name, reason in reasons.items() if name not in walk.free}
    return walk._replace(fixed=fixed)


class _Tries:
    """Walks over one model; remembers the error of the one that came furthest."""

    def __init__(self, model: Model, givens: Mapping[str, Given]):
        self.model, self.givens = model, givens
        self.furthest: BlockpropError | None = None
        self.last: BlockpropError | None = None
        self.graph: Graph | None = None
        self._texts: list[str] = []
        self._steps, self._most = 0, -1

    def why_not(self, size: Free) -> str:
        """What the last walk failed at; for a batch, what took it for a fixed one before that."""
        if size.is_batch and self.graph and (node := _reshaped_batch(self.graph)):
            return f"{node.name!r} fixes it, {node.block!r}, so that {self.last}"
        return str(self.last)

    @property
    def is_hopeless(self) -> bool:
        """Whether other sizes do not help: three times in turn the error was the same to the letter."""
        return self._steps > MOST_VISITS or (len(self._texts) > 2 and len(set(self._texts[-3:])) == 1)

    def walk(
        self,
        free: Mapping[str, Free],
        names: tuple[str, ...],
        start: int,
        batch: int = 1,
        smaller: AbstractSet[str] = frozenset(),
    ) -> FinishedWalk | None:
        """A walk with these sizes free, the smaller ones reduced in the second trial, the others enlarged."""
        shapes = self._shapes(free, names, start, batch, smaller)
        interpreter = None
        try:
            interpreter = OnnxInterpreter(self.model, _meta(self.givens, shapes))
            outputs = interpreter.run()
        except BlockpropError as error:
            if interpreter and interpreter.problems:
                return FinishedWalk(interpreter, [], shapes, names, start, batch, smaller)
            self.graph = interpreter.graph if interpreter else None
            self._note(error, interpreter.steps if interpreter else 0, fixed=not names)
            return None
        return FinishedWalk(interpreter, outputs, shapes, names, start, batch, smaller)

    def _note(self, error: BlockpropError, steps: int, fixed: bool) -> None:
        self._steps += steps + 1
        self.last = error
        if fixed:
            self._texts.append(str(error))
        if steps > self._most:
            self._most, self.furthest = steps, error

    def _shapes(
        self, free: Mapping[str, Free], names: tuple[str, ...], start: int, batch: int, smaller: AbstractSet[str]
    ) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The shapes of each input in both trials, with these sizes free and the others fixed."""
        factors = iter(FACTORS * (1 + len(free) // len(FACTORS)))
        sizes: dict[Place, tuple[int, int]] = {}
        for name, free_size in free.items():
            first, second = self._pair(free_size, name in names, start, batch, factors)
            pair = first, (max(first * first // second, 1) if name in smaller else second)
            sizes.update(dict.fromkeys(free_size.places, pair))
        shapes = {}
        for name, input in self.givens.items():
            assert input.sizes is not None
            pairs = [sizes.get(Place(name, i), (size, size)) for i, size in enumerate(input.sizes)]
            shapes[name] = (tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
        return shapes  # type: ignore[return-value]

    def _pair(self, each: Free, varies: bool, start: int, batch: int, factors: Iterator[int]) -> tuple[int, int]:
        if each.is_batch:
            first = each.size or (BATCH_TRIALS[0] if varies else batch)
            return first, (first + 2 if varies else first)
        pictures = all(len(self.givens[place.input].sizes or ()) > 3 for place in each.places)
        starts = STARTS if pictures else LENGTHS
        first = each.size or starts[min(start, len(starts) - 1)]
        return first, first * next(factors) if varies else first


def _reshaped_batch(graph: Graph) -> Node | None:
    """The first node that gives a free batch a number of its own: a Reshape to (1, -1)."""
    for node in graph.nodes:
        if isinstance(node.block, Reshape) and node.block.start_axis == 0:
            before, after = graph.flow(node.inputs[0]).shape[0], node.block.shape[0]
            if isinstance(before, Symbol) and isinstance(after, int) and after > 0:
                return node
    return None


def _meta(
    givens: Mapping[str, Given], shapes: Mapping[str, tuple[tuple[int, ...], ...]]
) -> dict[str, tuple[Tensor, ...]]:
    tensors = {}
    for name, input in givens.items():
        for one in shapes[name]:
            if torch.Size(one).numel() > LARGEST_INPUT or max(one, default=0) > LARGEST_INPUT:
                raise GraphError(f"the input {name!r} of shape {one} is larger than any that can be meant")
        tensors[name] = tuple(torch.empty(one, dtype=input.dtype, device="meta") for one in shapes[name])
    return tensors


def _with_shapes(model: Model, sizes: Mapping[str, Any]) -> dict[str, Given]:
    """The inputs, with the shapes that the user says for some."""
    inputs = dict(model.inputs)
    for name, input in model.inputs.items():
        wanted = sizes.get(name)
        if wanted is not None and _is_shape(wanted):
            if input.sizes is not None and len(wanted) != len(input.sizes):
                raise SettingError(f"the input {name!r} has {len(input.sizes)} axes, came {tuple(wanted)}")
            axes = input.sizes or (None,) * len(wanted)
            names = [f"axis {axis} of {name!r}" if size is None else size for axis, size in enumerate(axes)]
            inputs[name] = Given(input.dtype, tuple(names), input.is_text)
        elif input.sizes is None:
            inputs[name] = Given(input.dtype, _guessed(model, name), input.is_text)
    return inputs


def _is_shape(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _guessed(model: Model, name: str) -> tuple[int | str | None, ...]:
    """A shape for an input without one: as many axes as the first operator with a kernel needs."""
    for node in model.nodes:
        if node.op_type == "Conv" and name == node.input[0] and node.input[1] in model.tensors:
            return (None,) * model.tensors[node.input[1]].axes
    raise UnsupportedError(
        f"the model does not say how many axes {name!r} has; sizes={{{name!r}: (1, 3, 224, 224)}} does"
    )


def _free_sizes(givens: Mapping[str, Given], sizes: Mapping[str, Any]) -> dict[str, Free]:
    """The free sizes by name. Those without a name are one wherever they are the same axis."""
    free: dict[str, Free] = {}
    for name, input in givens.items():
        for axis, size in enumerate(input.sizes or ()):
            if not isinstance(size, int):
                key = size or f"axis {axis}"
                free.setdefault(key, Free()).places.append(Place(name, axis))
    for key, value in sizes.items():
        if key in givens and _is_shape(value):
            _start_at(free, key, givens[key].sizes or (), value)
        elif key not in free:
            raise SettingError(f"the model has no free size {key!r}{suggestion(key, [*free, *givens])}")
        else:
            free[key].size = _checked(key, value)
    return free


def _start_at(
    free: Mapping[str, Free], input: str, sizes: Sequence[int | str | None], wanted: Sequence[int | None]
) -> None:
    """Take over the shape that the user says for an input; None for an axis of which it says nothing."""
    for axis, (size, value) in enumerate(zip(sizes, wanted, strict=True)):
        if isinstance(size, int) and value not in (None, size):
            raise SettingError(f"axis {axis} of {input!r} is {size} in the file, came {value!r}")
        if isinstance(size, str) and value is not None:
            free[size].size = _checked(size, value)


def _checked(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError(f"expected a size of at least 1 for {name!r}, came {value!r}")
    return value
