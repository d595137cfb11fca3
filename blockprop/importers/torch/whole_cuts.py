"""Operators that torch leaves out where they change nothing, called nevertheless: a module's graph is then the same
whether a cut happens to take the whole, or a tensor to lie contiguous, or not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def called(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], is_size: Callable[[Any], bool]
) -> Any:
    """What the function gives, for x[:, :n] and x.contiguous() by an operator in any case.

    is_size: whether a number was computed from sizes, and may be less than the whole elsewhere
    """
    if func is Tensor.__getitem__ and (cuts := _cuts(args[0], args[1], is_size)):
        result = args[0]
        for axis, stop in cuts:
            result = torch.ops.aten.slice.Tensor(result, axis, 0, stop)
        return result
    if func is Tensor.contiguous and not kwargs:
        return torch.ops.aten.contiguous.default(args[0])
    return func(*args, **kwargs)


def _cuts(x: Tensor, key: Any, is_size: Callable[[Any], bool]) -> list[tuple[int, int]]:
    """[(axis, stop)] if the key cuts off ends alone, all of them at sizes."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, slice) or part is Ellipsis for part in parts):
        return []
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts = (*parts[:place], *[slice(None)] * (x.dim() - len(parts) + 1), *parts[place + 1 :])
    cuts = [(axis, part) for axis, part in enumerate(parts) if part != slice(None)]
    if not all(is_size(part.stop) and part.start in (None, 0) and part.step in (None, 1) for _, part in cuts):
        return []
    return [(axis, part.stop) for axis, part in cuts]
