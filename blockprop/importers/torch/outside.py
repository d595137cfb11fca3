"""What running a module may leave behind outside of it, to be put back: stores of its classes and of the files that
they stand in, caches of functions, Python's and numpy's random numbers.
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

from blockprop.importers.torch.copying import functions_in, is_store

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
            self._put_back()

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
