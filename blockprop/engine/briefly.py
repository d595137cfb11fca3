"""Values in a few words, for the `repr` of things that hold tensors: a shape in place of a page of numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from blockprop.errors import shape

MOST_ITEMS = 6
MOST_CHARACTERS = 60


def brief(value: Any) -> str:
    """A tensor as "float32 2 x 3", a collection by its first few parts, anything else by the beginning of its repr."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {shape(value)}"
    if isinstance(value, Mapping):
        return "{" + _listed([f"{_cut(repr(key))}: {brief(item)}" for key, item in _first(value.items())], value) + "}"
    if type(value) in (list, tuple):
        left, right = "[]" if isinstance(value, list) else "()"
        return left + _listed([brief(item) for item in _first(value)], value) + right
    return _cut(repr(value))


def brief_repr(self: Any) -> str:
    """The repr of a dataclass or named tuple, with its values in brief."""
    fields = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
    names = [field.name for field in fields if field.repr] or self._fields
    return f"{type(self).__name__}({', '.join(f'{name}={brief(getattr(self, name))}' for name in names)})"


def _first(items: Any) -> list[Any]:
    return [item for item, _ in zip(items, range(MOST_ITEMS), strict=False)]


def _listed(parts: list[str], all_of_them: Any) -> str:
    more = len(all_of_them) - len(parts)
    return ", ".join([*parts, f"{more} more"] if more else parts)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
