"""What running a module may leave behind outside of it, to be put back: stores of its classes and of the files that
they stand in, caches of functions, Python's and numpy's random numbers. While it runs, copies take the place of
tensors there.
"""

import functools
import operator
import random
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blockprop.importers.torch.copying import copied, functions_in, is_store

CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
DEEPEST, MOST_INSIDE = 3, 1000
"""Containers inside containers that are looked into: down to this depth, and with so many elements at most."""
FOREIGN = {*sys.stdlib_module_names, "torch", "numpy", "blockprop"}
"""Packages whose files are not looked into."""
_MISSING: Any = object()


class StateOutside:
    """The state around a module as it is now. `restored()`: a context that puts it back at its end."""

    def __init__(self, module: nn.Module):
        spaces = list(_namespaces(module))
        self._own = {id(x): x for part in module.modules() for x in (part, *part._parameters.values())}
        self._places = [(h, name, v) for h, name, v in _places(spaces) if id(v) not in self._own and _has_tensors(v)]
        """(holder, attribute, value) of what holds tensors that a run might write into."""
        self._names = [(space, dict(vars(space))) for space in spaces]
        self._containers: dict[int, tuple[Any, Any]] = {}
        self._caches: dict[int, Any] = {}
        for space in spaces:
            for name, value in list(vars(space).items()):
                if name == "__builtins__":  # of which each file holds the one dict that there is
                    continue
                self._note(value.__func__ if isinstance(value, classmethod | staticmethod) else value, 0)

    @property
    def holds_tensors(self) -> bool:
        """Whether there are caches, or stores with tensors in them."""
        filled = any(cache.cache_info().currsize for cache in self._caches.values())
        return filled or any(is_store(value) for value, _ in self._containers.values())

    @contextmanager
    def restored(self, emptied: bool = False) -> Iterator[None]:
        """emptied: begin without what is in caches and stores of tensors."""
        numbers, digits, dtype = random.getstate(), np.random.get_state(), torch.get_default_dtype()
        if emptied:
            stores = [value for value, _ in self._containers.values() if is_store(value)]
            for store in stores:
                store.clear()
            for cache in self._caches.values():
                cache.cache_clear()
        before = [(holder, name, getattr(holder, name)) for holder, name, _ in self._places]
        self._set_copies()
        misses = {key: cache.cache_info().misses for key, cache in self._caches.items()}
        try:
            yield
        finally:
            random.setstate(numbers)
            np.random.set_state(digits)
            torch.set_default_dtype(dtype)
            for key, cache in self._caches.items():
                if cache.cache_info().misses != misses[key]:
                    cache.cache_clear()
            for holder, name, value in before:
                setattr(holder, name, value)
            self._put_back()

    def _set_copies(self) -> None:
        """Put copies in the place of all tensors, the same for the same."""
        memo = dict(self._own)
        for holder, name, value in self._places:
            setattr(holder, name, copied(value, memo))
        for container, _ in self._containers.values():
            for key, value in list(_items(container)):
                if _has_tensors(value) and id(value) not in self._own:
                    container[key] = copied(value, memo)

    def _note(self, value: Any, depth: int) -> None:
        if isinstance(value, functools._lru_cache_wrapper):
            self._caches[id(value)] = value
        elif type(value) in CONTAINERS and id(value) not in self._containers:
            if depth and (depth > DEEPEST or len(value) > MOST_INSIDE):
                return
            self._containers[id(value)] = (value, value.copy())
            for inner in value.values() if isinstance(value, dict) else value:
                self._note(inner, depth + 1)

    def _put_back(self) -> None:
        refill(self._containers.values())
        for space, names in self._names:
            for name, value in list(vars(space).items()):
                before = names.get(name, _MISSING)
                if before is value or not (isinstance(before, Tensor) or isinstance(value, Tensor)):
                    continue
                delattr(space, name) if before is _MISSING else setattr(space, name, before)


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    """(key, value) of what has keys or places."""
    if isinstance(container, dict):
        return container.items()
    return () if isinstance(container, set) else enumerate(container)


def _has_tensors(value: Any) -> bool:
    """Whether it is a tensor, a module, or a tuple that holds one."""
    return isinstance(value, Tensor | nn.Module) or (type(value) is tuple and any(map(_has_tensors, value)))


def _places(spaces: Iterable[Any]) -> Iterator[tuple[Any, str, Any]]:
    """(holder, attribute, value) of what the functions in these namespaces can reach: what they name, hold, and take by
    default.
    """
    functions = [function for space in spaces for value in vars(space).values() for function in _functions_of(value)]
    used = {name for function in functions for name in _names_in(function.__code__)}
    for space in spaces:
        yield from ((space, name, value) for name, value in vars(space).items() if name in used)
    for function in functions:
        cells = [cell for cell in function.__closure__ or () if cell != types.CellType()]
        yield from ((cell, "cell_contents", cell.cell_contents) for cell in cells)
        yield function, "__defaults__", function.__defaults__


def _functions_of(value: Any) -> Iterator[types.FunctionType]:
    """The function that a method or property of any kind is, and those that a container of them has."""
    for inner in list(value.values()) if type(value) is dict else [value]:
        if isinstance(inner, classmethod | staticmethod):
            inner = inner.__func__
        elif isinstance(inner, property):
            inner = inner.fget
        if isinstance(inner, types.FunctionType):
            yield inner


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def refill(containers: Iterable[tuple[Any, Any]]) -> None:
    """Put what was in the containers back: pairs of each and of a copy from then."""
    for value, saved in containers:
        if _differ(value, saved):
            value.clear()
            value.update(saved) if isinstance(value, dict | set) else value.extend(saved)


def _namespaces(module: nn.Module) -> Iterator[Any]:
    """The classes of the module's parts, the files of these and of its hooks, and the files that those take from."""
    classes = {kind for part in module.modules() for kind in type(part).__mro__ if not _is_foreign(kind.__module__)}
    yield from classes
    titles = {kind.__module__ for kind in classes} | {function.__module__ for function in functions_in(module)}
    files = [sys.modules[title] for title in titles if title in sys.modules and not _is_foreign(title)]
    further = {title for file in files for title in _sources(vars(file).values())} - titles
    yield from files
    kinds = {v for file in files for v in vars(file).values() if isinstance(v, type) and v.__module__ == file.__name__}
    yield from kinds - classes
    yield from (sys.modules[title] for title in further if title in sys.modules and not _is_foreign(title))


def _sources(values: Iterable[Any]) -> set[str]:
    kinds = (types.FunctionType, functools._lru_cache_wrapper)
    return {value.__module__ for value in list(values) if isinstance(value, kinds)}


def _is_foreign(title: str | None) -> bool:
    return title is None or (title.partition(".")[0] in FOREIGN and title != "__main__")


def _differ(a: Any, b: Any) -> bool:
    """Whether other things are in the container, or in another order: without a loop of Python's, as most never do."""
    if len(a) != len(b):
        return True
    if isinstance(a, set):
        return bool(a != b)
    if isinstance(a, dict) and any(map(operator.is_not, a.values(), b.values())):
        return True
    return any(map(operator.is_not, a, b))
