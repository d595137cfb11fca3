"""Blocks as training runs them by kernels in C: convolutions, max pooling, sums of pictures in float32.

Each stands for a block of blockprop/blocks and has its weights: the very tensors, as they are at each call. What the
kernels do not take, that block itself does; what it saves comes back to it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks import Add, Conv2d, MaxPool2d
from blockprop.engine.block import Block, Shape
from blockprop.native.memory import bytes_, is_in_memory
from blockprop.native.program import Address, Kind
from blockprop.preparing.draft import is_as_made
from blockprop.preparing.native.arena import Buffer, Slab
from blockprop.preparing.native.convolutions import NativeConvolution
from blockprop.preparing.native.kernels import Kernels
from blockprop.preparing.native.poolings import pooled, write_pool
from blockprop.preparing.native.writing import OTHERS, Bytes, Compiled, Extent, OpWriter, Saving
from blockprop.preparing.pooling import FixedMaxPool2d
from blockprop.training.native_pictures import Pictures, extent, is_taken, lies_so

NOTHING = bytes_(0)


class NativeBlock(Block):
    """A block that stands for another. What is saved is (what that one saves, None) or (None, what kernels want)."""

    def __init__(self, block: Any, kernels: Kernels, pictures: Pictures):
        self.block, self.kernels, self.pictures = block, kernels, pictures
        self.from_file, self.from_trusted_file = block.from_file, block.from_trusted_file
        self._programs: dict[Any, Compiled] = {}

    def at_most(self, *shapes: Shape) -> Shape | None:
        largest: Shape | None = self.block.at_most(*shapes)
        return largest

    @property
    def buffers(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.block.buffers
        return found

    @property
    def weight(self) -> Tensor | None:
        found: Tensor | None = self.block.weight
        return found

    @property
    def bias(self) -> Tensor | None:
        found: Tensor | None = self.block.bias
        return found

    def run(
        self, name: str, shapes: list[Extent], write: Callable[..., None], *others: Tensor, saved: Tensor = NOTHING
    ) -> None:
        """Carry out what `write` writes, given a writer and pictures of these shapes, the first of the others.

        The program is made once for each name, shapes and number of threads.
        """
        threads = torch.get_num_threads()
        key = (name, *shapes, threads)
        if key not in self._programs:
            writer = OpWriter(self.kernels.width, len(others))
            write(writer, *(Slab(Buffer(OTHERS + i), shape, shape[3]) for i, shape in enumerate(shapes)))
            self._programs[key] = self.kernels.program(writer, threads)
        self.kernels.run(self._programs[key], threads, saved, others)


class NativeConv2d(NativeBlock):
    """Conv2d, in Winograd's way where that can be (native/winograd.c, winograd_gradient.c), else by torch's kernels.

    is_normalized: whether batch normalization is all that stands behind it, to which rounding does not matter.
    """

    parameter_names = ("weight", "bias")

    def __init__(self, block: Conv2d, kernels: Kernels, pictures: Pictures):
        super().__init__(block, kernels, pictures)
        self._known: NativeConvolution | None = None
        self.is_normalized = False

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        known = self._knows() if is_taken(x) and is_as_made(self.block) else None
        shape = None if known is None else known.shape(extent(x))
        if known is None or shape is None or not known.is_winograd(shape):
            y, saved = self.block.forward(x if known is None else x.contiguous(memory_format=torch.channels_last))
            return y, (saved, None)
        x, y = self.pictures.laid_out(x), self.pictures.new(shape)
        known.renew(self.kernels)

        def write(writer: OpWriter, x: Slab, y: Slab) -> None:
            known.write_forward(writer, x, y, None, None, None)

        self.run("forward", [extent(x), shape], write, x, y)
        return y, (None, (x, known))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if saved[1] is None:
            return self.block.propagate(saved[0], d_y)
        x, known = saved[1]
        d_y, d_x = self.pictures.laid_out(d_y), self.pictures.new(extent(x))

        def write(writer: OpWriter, d_y: Slab, d_x: Slab) -> None:
            known.write_backward(writer, d_y, d_x, None, None)

        self.run("propagate", [extent(d_y), extent(d_x)], write, d_y, d_x)
        return (d_x,)

    def gradients(self, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        if saved[1] is None:
            return self.block.gradients(saved[0], d_y)
        x, known = saved[1]
        d_y, d_weight = self.pictures.laid_out(d_y), torch.empty_like(known.weight)

        def write(writer: OpWriter, x: Slab, d_y: Slab) -> None:
            known.write_gradient(writer, x, d_y, Address(OTHERS + 2, 0))

        self.run("gradients", [extent(x), extent(d_y)], write, x, d_y, d_weight)
        return {"weight": d_weight} if known.bias is None else {"weight": d_weight, "bias": d_y.sum((0, 2, 3))}

    def _knows(self) -> NativeConvolution | None:
        """What there is to know of the convolution with the tensors it has now; None if kernels cannot read them."""
        weight, bias, known = self.block.weight, self.block.bias, self._known
        if known is None or known.weight is not weight or known.bias is not bias:
            self._programs.clear()
            fits = all(is_plain(tensor) for tensor in (weight, bias) if tensor is not None)
            known = self._known = self._made(weight, bias) if fits else None
        return known

    def _made(self, weight: Tensor, bias: Tensor | None) -> NativeConvolution:
        return NativeConvolution(self.block, weight, bias, self.kernels.width, is_exact=not self.is_normalized)


def is_plain(weight: Tensor) -> bool:
    """Whether kernels can read these weights."""
    return weight.dtype is torch.float32 and is_in_memory(weight) and weight.is_contiguous()


class NativeMaxPool2d(NativeBlock):
    """MaxPool2d that keeps one byte for each maximum: its place in the window."""

    pools = True

    def __init__(self, block: MaxPool2d, kernels: Kernels, pictures: Pictures):
        super().__init__(block, kernels, pictures)
        self._fixed = FixedMaxPool2d(block)

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        shape = pooled(self._fixed, extent(x)) if is_taken(x) and is_as_made(self.block) else None
        if shape is None:
            y, saved = self.block.forward(x)
            return y, (saved, None)
        x, y = self.pictures.laid_out(x), self.pictures.new(shape)
        saving = Saving(self.kernels.width)
        places = saving.places(Slab(Buffer(0), shape, shape[3]))
        winners = bytes_(saving.size)
        self.run("forward", [extent(x), shape], self._writes(Kind.POOL, places), x, y, saved=winners)
        return y, (None, (extent(x), places, winners))

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        if saved[1] is None:
            return self.block.propagate(saved[0], d_y)
        shape, places, winners = saved[1]
        d_y, d_x = self.pictures.laid_out(d_y), self.pictures.new(shape)
        self.run("propagate", [extent(d_y), shape], self._writes(Kind.UNPOOL, places), d_y, d_x, saved=winners)
        return (d_x,)

    def _writes(self, kind: Kind, places: Bytes) -> Callable[..., None]:
        return lambda writer, x, y: write_pool(writer, kind, self._fixed, x, y, places)


class NativeAdd(NativeBlock):
    """Add of two pictures of one shape."""

    def __init__(self, block: Add, kernels: Kernels, pictures: Pictures):
        super().__init__(block, kernels, pictures)

    def forward(self, *xs: Tensor) -> tuple[Tensor, Any]:
        fit = len(xs) == 2 and xs[0].shape == xs[1].shape and all(is_taken(x) and lies_so(x) for x in xs)
        if not fit or not is_as_made(self.block):
            y, saved = self.block.forward(*xs)
            return y, (saved, None)
        y = self.pictures.new(extent(xs[0]))

        def write(writer: OpWriter, x: Slab, add: Slab, y: Slab) -> None:
            writer.write(Kind.PASS, x, y, add=add)

        self.run("forward", [extent(y)] * 3, write, *xs, y)
        return y, (None, ())

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        return (d_y, d_y) if saved[1] is not None else self.block.propagate(saved[0], d_y)


class Passing(Block):
    """y = x:  what stood here is done by the block before.   d_x = d_y"""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x, None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y,)
