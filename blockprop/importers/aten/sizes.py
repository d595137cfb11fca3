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


def each_axis(setting: Any, axes: int) -> list[Any]:
    """A setting for each axis, where it may be one for all."""
    if isinstance(setting, list | tuple):
        return list(setting) * axes if len(setting) == 1 else list(setting)
    return [setting] * axes


def one_or_all(numbers: Sequence[int]) -> int | tuple[int, ...]:
    """One number where all are equal."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)
