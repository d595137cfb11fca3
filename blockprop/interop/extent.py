"""How much a call of an operator makes that no look without numbers tells (engine/room.py): how many tensors, each of
which takes time and memory whatever its size, and results whose sizes follow from the numbers in the inputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch._ops import OpOverload

from blockprop.engine.room import SHARE, free_memory, in_bytes
from blockprop.errors import ShapeError

MOST_PARTS = 10_000
"""Tensors that one call makes."""


def require_bounded(operator: OpOverload, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """ShapeError for a call, with these tensors and numbers, that makes more than MOST_PARTS tensors, or too much.

    Raises what the operator itself would for other calls that it cannot use: LookupError, TypeError, ValueError.
    """
    given = {a.name: a.default_value for a in operator._schema.arguments if a.has_default_value()}
    given |= zip([argument.name for argument in operator._schema.arguments], arguments, strict=False)
    given |= keywords
    count = _parts(operator.name(), given)
    if count > MOST_PARTS:
        raise ShapeError(f"{operator} would make {count:,} tensors; {MOST_PARTS:,} are allowed")
    size = 8 * _numbers(operator.name(), given)
    if size:
        limit = int(SHARE * free_memory(next(value.device for value in given.values() if isinstance(value, Tensor))))
        if size > limit:
            raise ShapeError(f"{operator} would make a tensor of {in_bytes(size)}; {in_bytes(limit)} are allowed")


def _parts(name: str, given: Mapping[str, Any]) -> int:
    """How many tensors it makes of one; 0 where that follows from how many it is given."""
    for word in ("sections", "chunks"):
        if isinstance(given.get(word), int):
            return int(given[word])
    if name == "aten::tensor_split.tensor_indices_or_sections":
        sections = given["tensor_indices_or_sections"]
        return int(sections) if sections.dim() == 0 else sections.numel() + 1
    if name == "aten::unbind.int":
        return int(given["self"].shape[given["dim"]])
    if name == "aten::split.Tensor":
        return int(given["self"].shape[given["dim"]]) // max(given["split_size"], 1)
    return 0


def _numbers(name: str, given: Mapping[str, Any]) -> int:
    """How many numbers it makes, where that follows from the numbers that it is given; else 0."""
    x, repeats = given.get("self"), given.get("repeats")
    if name == "aten::one_hot" and x is not None and given["num_classes"] == -1 and x.numel():
        return int(x.numel()) * (int(x.max()) + 1)
    if not name.startswith("aten::repeat_interleave") or not isinstance(repeats, Tensor):
        return 0
    times = int(repeats.double().sum())
    if x is None:
        return times
    places = 1 if repeats.numel() == 1 else x.numel() if given["dim"] is None else x.shape[given["dim"]]
    return times * int(x.numel()) // max(places, 1)
