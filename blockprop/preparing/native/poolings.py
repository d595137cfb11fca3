"""Max pooling as an operation, and its error propagation."""

from blockprop.native.program import Kind
from blockprop.preparing.native.arena import Slab
from blockprop.preparing.native.weights import Distances, as_tensor
from blockprop.preparing.native.writing import Bytes, Extent, OpWriter
from blockprop.preparing.pooling import BYTE, FixedMaxPool2d


def pooled(block: FixedMaxPool2d, x: Extent) -> Extent | None:
    """The output's; None if x does not fit."""
    kernel, stride, padding, dilation, ceil_mode = block.pool._windows
    sizes = []
    for size, reach, step, pad, apart in zip(x[1:3], kernel, stride, padding, dilation, strict=True):
        room = size + 2 * pad - apart * (reach - 1) - 1
        count = (-(-room // step) if ceil_mode else room // step) + 1
        if ceil_mode and (count - 1) * step >= size + pad:
            count -= 1
        if room < 0 or count < 1 or apart > size:
            return None
        sizes.append(count)
    return (x[0], sizes[0], sizes[1], x[3]) if x[0] and kernel[0] * kernel[1] <= BYTE else None


def write_pool(
    writer: OpWriter,
    kind: Kind,
    block: FixedMaxPool2d,
    x: Slab,
    y: Slab,
    winners: Bytes,
    add: Slab | None = None,
    gate: Bytes | None = None,
    kept: Bytes | None = None,
    high: float = 0.0,
) -> None:
    """Its maxima from x to y, or their errors."""
    kernel, stride, padding, dilation, _ = block.pool._windows
    distances: Distances = [
        (i * dilation[0] - padding[0], j * dilation[1] - padding[1], i * kernel[1] + j)
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    writer.write(
        kind,
        x,
        y,
        add=add,
        gate=gate,
        kept=kept,
        high=high,
        distances=writer.constant(as_tensor(distances)),
        taps=len(distances),
        sy=stride[0],
        sx=stride[1],
        places=winners.memory,
        places_ld=winners.step,
    )
