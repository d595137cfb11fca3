"""What values have inside: which hold tensors, and which functions can be reached from them."""

import functools
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
DEEPEST, MOST_INSIDE = 3, 1000
"""What is inside of something is looked into down to this depth, and if it has so many parts at most."""
FOREIGN = {*sys.stdlib_module_names, "torch", "numpy", "blockprop"}
"""Packages whose files and objects are not looked into."""
PLAIN = ("collections", "types")
"""Of these the objects are: SimpleNamespace, UserDict."""
LEAVES = (Tensor, nn.Module, np.ndarray)
SHARED = (int, float, str, bytes, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
"""What is not copied with what holds it."""


def holds_tensors(value: Any, depth: int = 0) -> bool:
    """Whether a tensor, a module or an array is somewhere in it: in a container, or an attribute of an object."""
    if isinstance(value, LEAVES):
        return True
    return depth <= DEEPEST and any(holds_tensors(inner, depth + 1) for inner in _inside(value))


def _inside(value: Any) -> list[Any]:
    """What containers, partial functions, methods and plain objects hold; nothing of what is too much."""
    if value is None or isinstance(value, SHARED):
        return []
    if isinstance(value, functools.partial):
        return [*value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__self__]
    title = type(value).__module__
    held = [] if is_foreign(title) and title not in PLAIN else list(attributes(value))
    if isinstance(value, dict | list | tuple | set | frozenset | deque) and len(value) <= MOST_INSIDE:
        held += value.values() if isinstance(value, dict) else value
    return held


def attributes(value: Any) -> Iterator[Any]:
    """The values of an object's attributes, in its __dict__ or its slots."""
    yield from list(getattr(value, "__dict__", {}).values())
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if hasattr(value, name):
                yield getattr(value, name)


def is_foreign(title: str | None) -> bool:
    """Whether a file of this name is of a package that is not looked into."""
    return title is None or (title.partition(".")[0] in FOREIGN and title != "__main__")


def functions_reached(values: Iterable[Any]) -> list[types.FunctionType]:
    """The functions that these are, however they are wrapped or kept, and those that functions hold or wrap."""
    found: dict[int, types.FunctionType] = {}
    pending, seen = [(value, 0) for value in values], dict[int, Any]()
    while pending:
        value, depth = pending.pop()
        if id(value) in seen or depth > DEEPEST:
            continue
        seen[id(value)] = value
        if isinstance(value, types.FunctionType):
            found[id(value)] = value
            held = [cell.cell_contents for cell in cells_of(value)]
            pending += [(inner, 0) for inner in (*held, *vars(value).values())]
        else:
            pending += [(inner, depth + 1) for inner in _wrapped(value)]
    return list(found.values())


def cells_of(function: types.FunctionType) -> list[types.CellType]:
    """Where a function keeps what it holds; none that is still empty."""
    return [cell for cell in function.__closure__ or () if cell != types.CellType()]


def _wrapped(value: Any) -> Iterable[Any]:
    """What may be a function in methods and properties of any kind, in partial functions, and in containers."""
    if isinstance(value, classmethod | staticmethod | types.MethodType):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset]
    if isinstance(value, functools.cached_property | functools.partial | functools.partialmethod):
        return [value.func]
    if isinstance(value, functools._lru_cache_wrapper):
        return [value.__wrapped__]
    if type(value) in (*CONTAINERS, tuple) and len(value) <= MOST_INSIDE:
        return list(value.values()) if isinstance(value, dict) else list(value)
    return []
