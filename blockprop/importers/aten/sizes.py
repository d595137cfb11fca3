"""What handlers of convolution and pooling share: settings for each axis, single examples."""

from collections.abc import Sequence
from typing import Any

from blockprop import blocks
from blockprop.importers.calls import Call
from blockprop.importers.graph import Value


def batched(call: Call, block: Any, x: Value, axes: int) -> Value:
    """The block on x; a single example without a batch axis gets one for it."""
    if x.axes == axes:
        return call.add(block, x)
    wide = call.add(blocks.Unsqueeze((0,)), x, part="batch")
    return call.add(blocks.Squeeze((0,)), call.add(block, wide, part="of_one"))


def each_axis(given: Any, axes: int) -> list[Any]:
    """A setting for each axis, where it may be one for all."""
    if isinstance(given, list | tuple):
        return list(given) * axes if len(given) == 1 else list(given)
    return [given] * axes


def one_or_all(given: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are equal."""
    return given[0] if len(set(given)) == 1 else tuple(given)
