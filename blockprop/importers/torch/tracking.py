"""Sizes that remember what they were computed from, while a module is exported at fixed sizes.

torch.export can work with formulas in place of sizes; then every size is a formula of the inputs' sizes, and with SAME
padding each layer makes it four times as long. Here each size of a tensor begins anew: it is a whole number that knows
of which value in the graph, and of which axis, it is the size. What the module computes from it knows that, too.
"""

import builtins
import functools
import linecache
import math
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from blockprop.importers.torch.formulas import EXTREMES, Decision, Formula, SizeOf, Worked, as_it_is
from blockprop.importers.torch.whole_cuts import called

FORMULAS, VALUE = "blockprop_formulas", "blockprop_value"
"""Keys of a node's meta: which of its arguments were computed from which sizes; the name that sizes of it refer to."""

LONGEST = 300
"""Operators in a formula; a longer one is no formula any more, but a number. One that has a part twice counts it twice:
sizes that are handed from layer to layer, and padded in each, would otherwise double with each."""


class _Tracked:
    """What whole and other numbers with a formula have in common."""

    formula: Formula
    length: int
    tracker: "SizeTracker"

    def _plain(self) -> Any:
        raise NotImplementedError

    def _worked(self, function: Callable[..., Any], *parts: Any) -> Any:
        plain = [part._plain() if isinstance(part, _Tracked) else part for part in parts]
        if any(not isinstance(part, int | float) for part in plain):
            return function(*plain)  # torch's own symbols know plain numbers alone
        value = function(*plain)
        length = _length(parts)
        if length > LONGEST:
            return value
        formula = Worked(function, tuple(part.formula if isinstance(part, _Tracked) else part for part in parts))
        return _tracked(value, formula, self.tracker, length)

    def __int__(self) -> int:
        """Python makes a plain number of it; it is noted that it was one of these."""
        value = int(self._plain())
        self.tracker.plain[value] = self.formula if isinstance(self, int) else Worked(math.trunc, (self.formula,))
        return value

    def __divmod__(self, other: Any) -> Any:
        return self._worked(operator.floordiv, self, other), self._worked(operator.mod, self, other)

    def __bool__(self) -> bool:
        return self.tracker.decide(bool(self._plain()), Worked(bool, (self.formula,)))

    def __hash__(self) -> int:
        return hash(self._plain())


def _length(parts: Sequence[Any]) -> int:
    """The operators of a formula that is made of these."""
    return 1 + sum(part.length for part in parts if isinstance(part, _Tracked))


def _binary(function: Callable[..., Any], swapped: bool) -> Any:
    def operate(self: _Tracked, other: Any) -> Any:
        return self._worked(function, other, self) if swapped else self._worked(function, self, other)

    return operate


def _unary(function: Callable[..., Any]) -> Any:
    return lambda self: self._worked(function, self)


def _compared(function: Callable[..., Any]) -> Any:
    def compare(self: _Tracked, other: Any) -> Any:
        plain = other._plain() if isinstance(other, _Tracked) else other
        if not isinstance(plain, int | float):
            return function(self._plain(), plain)
        parts = (self.formula, other.formula if isinstance(other, _Tracked) else other)
        return self.tracker.decide(function(self._plain(), plain), Worked(function, parts))

    return compare


_BINARY = ("add", "sub", "mul", "floordiv", "truediv", "mod")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
_METHODS = {f"__{name}__": _binary(getattr(operator, name), False) for name in _BINARY}
_METHODS |= {f"__r{name}__": _binary(getattr(operator, name), True) for name in _BINARY}
_METHODS |= {f"__{name}__": _compared(getattr(operator, name)) for name in _COMPARISONS}
_METHODS |= {"__neg__": _unary(operator.neg)}
_METHODS |= {f"__{name}__": _unary(getattr(math, name)) for name in ("ceil", "floor", "trunc")}
_SHARED = {name: vars(_Tracked)[name] for name in ("__int__", "__bool__", "__divmod__", "__hash__")}

TrackedInt: Any = type("TrackedInt", (_Tracked, int), {**_METHODS, **_SHARED, "_plain": lambda self: int.__pos__(self)})
TrackedFloat: Any = type(
    "TrackedFloat", (_Tracked, float), {**_METHODS, **_SHARED, "_plain": lambda self: float.__pos__(self)}
)


def _tracked(value: Any, formula: Formula, tracker: "SizeTracker", length: int = 0) -> Any:
    number = (TrackedFloat if isinstance(value, float) else TrackedInt)(value)
    number.formula, number.length, number.tracker = formula, length, tracker
    return number


class SizeTracker(TorchFunctionMode):
    """While it is active, tensors give sizes that remember where they come from, and nodes note those they get.

    exported: whether there will be a graph; without, only decisions and calls are noted
    """

    def __init__(self, exported: bool) -> None:
        super().__init__()
        self.exported = exported
        self.calls: list[Any] = []
        """The functions that the module called, of those that give tensors."""
        self.plain: dict[int, Formula] = {}
        """Numbers that the module made plain, with int()."""
        self.decisions: list[Decision] = []

    def decide(self, outcome: bool, formula: Worked) -> bool:
        """Note a comparison."""
        self.decisions.append(Decision(outcome, _place(), formula))
        return outcome

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        graph = _graph() if self.exported else None
        if graph is None and self.exported:
            return func(*args, **kwargs)
        if _is_size(func):
            return self._sizes(func, args, kwargs)
        last: Any = next(iter(reversed(graph.nodes))) if graph is not None else None
        result = called(func, args, kwargs, lambda number: isinstance(number, TrackedInt))
        if isinstance(result, Tensor | tuple | list):
            self.calls.append(func)
        if last is None:
            return result
        groups = [_Numbers.of(group) for group in _groups((*args, *kwargs.values()))]
        if self.plain or any(formula is not None for group in groups for formula in group.formulas):
            while last.next.op != "root":
                last = last.next
                self._note(last, groups)
        return result

    def _sizes(self, func: Any, args: Any, kwargs: Any) -> Any:
        sizes, name = func(*args, **kwargs), _name_of(args[0]) if self.exported else ""
        if name is None:
            return sizes
        if isinstance(sizes, torch.Size):
            return torch.Size([_tracked(size, SizeOf(name, axis), self) for axis, size in enumerate(sizes)])
        if isinstance(sizes, int) and func.__name__ == "size":
            axis = int(args[1] if len(args) > 1 else kwargs["dim"]) % args[0].dim()
            return _tracked(sizes, SizeOf(name, axis), self)
        return sizes

    def _note(self, node: fx.Node, groups: Sequence["_Numbers"]) -> None:
        """Which of the node's numbers are those of the call: the same lists, else the same numbers."""
        place, noted = 0, {}
        for argument in (*node.args, *node.kwargs.values()):
            numbers = pytree.tree_leaves(argument)
            same = next((group for group in groups if len(numbers) > 1 and group.values == numbers), None)
            for i, number in enumerate(numbers):
                pairs = [(number, same.formulas[i])] if same else [pair for group in groups for pair in group.pairs]
                formulas = [f for value, f in pairs if f is not None and type(number) is int and value == number]
                if type(number) is int and not formulas and number in self.plain:
                    formulas = [Worked(as_it_is, (self.plain[number],))]
                if formulas:
                    noted[place] = tuple(dict.fromkeys(formulas))
                place += 1
        node.meta[FORMULAS] = noted


class _Numbers(NamedTuple):
    """Numbers of a call that stand together, and their formulas."""

    values: list[Any]
    formulas: list[Formula | None]

    @classmethod
    def of(cls, numbers: Sequence[Any]) -> "_Numbers":
        return cls(
            [number._plain() if isinstance(number, _Tracked) else number for number in numbers],
            [number.formula if isinstance(number, TrackedInt) else None for number in numbers],
        )

    @property
    def pairs(self) -> list[tuple[Any, Formula | None]]:
        return list(zip(self.values, self.formulas, strict=True))


def _is_size(func: Any) -> bool:
    return func is Tensor.size or (getattr(func, "__name__", "") == "__get__" and func.__self__ is Tensor.shape)


def _graph() -> fx.Graph | None:
    from torch.fx.experimental.proxy_tensor import get_proxy_mode  # late, because it takes long to import

    mode = get_proxy_mode()
    return mode.tracer.graph if mode is not None else None


def _name_of(tensor: Tensor) -> str | None:
    """The name of the tensor's node in the graph that is being made."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot

    mode = get_proxy_mode()
    slot: Any = get_proxy_slot(tensor, mode.tracer, None) if mode is not None else None
    if slot is None:
        return None
    node = slot.proxy.node
    return str(node.meta.setdefault(VALUE, node.name))


def _groups(values: Sequence[Any]) -> Iterator[list[Any]]:
    """The numbers of a call, those of one list together."""
    for value in values:
        if isinstance(value, slice):
            yield from _groups((value.start, value.stop, value.step))
        elif isinstance(value, list | tuple):
            if any(isinstance(part, slice | list | tuple) for part in value):
                yield from _groups(value)
            else:
                yield list(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield [value]


def _place() -> str:
    """The line of the user's that is running: file:line."""
    frame: Any = sys._getframe(2)
    while frame is not None and (frame.f_code.co_filename == __file__ or "/torch/" in frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return ""
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f"{frame.f_code.co_filename}:{frame.f_lineno} `{text}`"


@contextmanager
def tracked(module: nn.Module, exported: bool = True) -> Iterator[SizeTracker]:
    """Inside, the module's sizes remember where they come from."""
    tracker, forward = SizeTracker(exported), module.forward

    @functools.wraps(forward)
    def tracking(*args: Any, **keywords: Any) -> Any:
        with tracker, _whole_numbers(tracker):
            return forward(*args, **keywords)

    vars(module)["forward"] = tracking
    yield tracker
    del vars(module)["forward"]


@contextmanager
def _whole_numbers(tracker: SizeTracker) -> Iterator[None]:
    """Python's own max and min would give one of two numbers, and forget the other."""
    plain: dict[str, Any] = {"max": builtins.max, "min": builtins.min}

    def extreme(name: str, *values: Any, **keywords: Any) -> Any:
        if keywords or len(values) != 2 or not any(isinstance(value, _Tracked) for value in values):
            return plain[name](*values, **keywords)
        if not all(isinstance(value, int) for value in values):
            return plain[name](*values)
        parts = tuple(value.formula if isinstance(value, _Tracked) else value for value in values)
        number = plain[name](*(int.__pos__(value) for value in values))
        length = _length(values)
        return _tracked(number, Worked(EXTREMES[name], parts), tracker, length) if length <= LONGEST else number

    for name in plain:
        setattr(builtins, name, functools.partial(extreme, name))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(builtins, name, function)
