"""What running a module may leave behind outside of it, to be put back: stores of its classes and of the files that
they stand in, caches of functions, Python's and numpy's random numbers. While it runs, copies take the place of
tensors there, and of what holds them.
"""

import functools
import operator
import random
import sys
import types
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from blockprop.importers.torch.copying import copied, functions_in, is_store
from blockprop.importers.torch.holding import (
    CONTAINERS,
    DEEPEST,
    MOST_INSIDE,
    cells_of,
    functions_reached,
    holds_tensors,
    is_foreign,
)

_MISSING: Any = object()


class StateOutside:
    """The state around a module as it is now. `restored()`: a context that puts it back at its end."""

    def __init__(self, module: nn.Module):
        spaces = list(_namespaces(module))
        self._own = {id(x): x for part in module.modules() for x in (part, *part._parameters.values())}
        self._names = [(space, dict(vars(space))) for space in spaces]
        self._containers: dict[int, tuple[Any, Any]] = {}
        self._caches: dict[int, Any] = {}
        for space in spaces:
            for name, value in list(vars(space).items()):
                if name == "__builtins__":  # of which each file holds the one dict that there is
                    continue
                self._note(value.__func__ if isinstance(value, classmethod | staticmethod) else value, 0)
        self._places = [(holder, name, value) for holder, name, value in _places(spaces) if self._is_copied(value)]
        """(holder, attribute, value) of what holds tensors that a run might write into."""

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
        before = [(holder, name, _now(holder, name)) for holder, name, _ in self._places]
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
            if isinstance(container, set):
                inner = [copied(value, memo) if self._is_copied(value) else value for value in container]
                container.clear()
                container.update(inner)
                continue
            for key, value in list(container.items() if isinstance(container, dict) else enumerate(container)):
                if self._is_copied(value):
                    container[key] = copied(value, memo)

    def _is_copied(self, value: Any) -> bool:
        """Whether a copy takes its place: not of what is the module's own, and of containers that are gone through."""
        return id(value) not in self._own and id(value) not in self._containers and holds_tensors(value)

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


def _places(spaces: Iterable[Any]) -> Iterator[tuple[Any, str, Any]]:
    """(holder, attribute, value) of what the functions in these namespaces can reach: what they name, hold, keep as an
    attribute, and take by default.
    """
    functions = functions_reached(value for space in spaces for value in list(vars(space).values()))
    used = {name for function in functions for name in _names_in(function.__code__)}
    for space in spaces:
        yield from ((space, name, value) for name, value in list(vars(space).items()) if name in used)
    for function in functions:
        yield from ((cell, "cell_contents", cell.cell_contents) for cell in cells_of(function))
        yield from ((function, name, value) for name, value in vars(function).items())
        yield function, "__defaults__", function.__defaults__
        yield function, "__kwdefaults__", function.__kwdefaults__


def _now(holder: Any, name: str) -> Any:
    """What stands there: of a class not what a descriptor in it would give."""
    return vars(holder)[name] if isinstance(holder, type) else getattr(holder, name)


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
    classes = {kind for part in module.modules() for kind in type(part).__mro__ if not is_foreign(kind.__module__)}
    yield from classes
    titles = {kind.__module__ for kind in classes} | {function.__module__ for function in functions_in(module)}
    files = [sys.modules[title] for title in titles if title in sys.modules and not is_foreign(title)]
    further = {title for file in files for title in _sources(vars(file).values())} - titles
    yield from files
    kinds = {kind for file in files for kind in _classes_in(file, file.__name__)}
    yield from kinds - classes
    yield from (sys.modules[title] for title in further if title in sys.modules and not is_foreign(title))


def _classes_in(space: Any, title: str) -> Iterator[type]:
    """The classes that a file, or a class in it, has for its own."""
    for value in list(vars(space).values()):
        if isinstance(value, type) and value.__module__ == title:
            yield value
            if isinstance(space, types.ModuleType):
                yield from _classes_in(value, title)


def _sources(values: Iterable[Any]) -> set[str]:
    kinds = (types.FunctionType, functools._lru_cache_wrapper)
    values = list(values)
    files = {value.__name__ for value in values if isinstance(value, types.ModuleType)}
    return files | {value.__module__ for value in values if isinstance(value, kinds)}


def _differ(a: Any, b: Any) -> bool:
    """Whether other things are in the container, or in another order: without a loop of Python's, as most never do."""
    if len(a) != len(b):
        return True
    if isinstance(a, set):
        return bool(a != b)
    if isinstance(a, dict) and any(map(operator.is_not, a.values(), b.values())):
        return True
    return any(map(operator.is_not, a, b))
