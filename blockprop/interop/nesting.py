"""Nested values: tuples, lists, dicts and plain objects, with tensors somewhere inside."""

import copy
import operator
from collections.abc import Callable, Iterator
from typing import Any


def substituted(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The value with change(x) for each x of this kind inside; what holds none is not copied.

    Functions, classes and blocks are not looked into.
    """
    if isinstance(value, kind):
        return change(value)
    if value is None or isinstance(value, int | float | str) or callable(value):
        return value
    if isinstance(value, tuple | list):
        items = [substituted(item, kind, change) for item in value]
        if all(map(operator.is_, items, value)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: substituted(item, kind, change) for key, item in value.items()}
    return _substituted_in_object(value, kind, change)


def _substituted_in_object(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    pairs = [(name, item, substituted(item, kind, change)) for name, item in _attributes(value)]
    changed = [(name, after) for name, before, after in pairs if after is not before]
    twin = copy.copy(value) if changed else value
    for name, item in changed:
        object.__setattr__(twin, name, item)  # frozen dataclasses, too
    return twin


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    slots = [getattr(kind, "__slots__", ()) for kind in type(value).__mro__]
    names = [name for slot in slots for name in ((slot,) if isinstance(slot, str) else slot)]
    for name in (*getattr(value, "__dict__", ()), *names):
        if hasattr(value, name):
            yield name, getattr(value, name)
