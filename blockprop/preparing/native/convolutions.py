"""Convolutions with fixed weights as operations, and their error propagation: which kernel does which."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from blockprop.blocks import Conv2d
from blockprop.native.program import RECTIFY, REFLECT, ZEROS, Address, Kind
from blockprop.preparing.convolution import FEW, FixedConv2d
from blockprop.preparing.native import weights
from blockprop.preparing.native.arena import Slab
from blockprop.preparing.native.kernels import Kernels
from blockprop.preparing.native.weights import Distances
from blockprop.preparing.native.writing import Bytes, Extent, OpWriter

TILES = 8
"""Fewer tiles of 4 x 4 than that are not worth transforming the weights of a convolution 3 x 3."""
CHANNELS = 16
"""And fewer channels, on either side."""
MOST_IN_DEPTH = 1024
"""Taps of a convolution in depth, which its kernel notes for each line."""


_known: WeakKeyDictionary[FixedConv2d, "NativeConvolution"] = WeakKeyDictionary()


def native_of(block: FixedConv2d, width: int) -> "NativeConvolution":
    """What there is to know of a block; the same for all regions that have it."""
    found = _known.get(block)
    if found is None or found.width != width:
        weight, bias = block._forth.weight.contiguous(), block._forth.bias
        cut = None if block.rectifier is None else block._high or 0.0
        found = _known[block] = NativeConvolution(block.convolution, weight, bias, width, block.reflects, cut)
    return found


class NativeConvolution:
    """What there is to know of a convolution, and its weights in panels.

    Each kind of panels is made when it is needed first; programs for pictures of several sizes share them.
    weight, bias: those that it has, in one piece.   cut: the height at which its rectifier cuts, 0 for none; None: no
    rectifier   is_exact: whether what sums nothing but zeros is to be exactly 0, for a rectifier behind
    """

    def __init__(
        self,
        convolution: Conv2d,
        weight: Tensor,
        bias: Tensor | None,
        width: int,
        reflects: bool = False,
        cut: float | None = None,
        is_exact: bool = True,
    ):
        self.width, self.reflects, self.weight, self.bias, self.cut = width, reflects, weight, bias, cut
        self.is_exact = is_exact
        self.kernel, self.stride, self.dilation = convolution._kernel, convolution._stride, convolution._dilation
        self.padding = (1, 1) if reflects else convolution._padding
        self.in_depth = convolution.groups > 1
        self.channels = convolution.channels_in, len(self.weight)
        self._panels: dict[str, Tensor] = {}
        self._makers: dict[str, Callable[[], Tensor]] = {}
        self._tables: dict[str, Tensor] = {}

    @staticmethod
    def takes(block: FixedConv2d) -> bool:
        """Whether there are kernels for it: not for several groups of several channels, nor all reflections."""
        convolution = block.convolution
        whole = convolution.groups == 1
        in_depth = convolution.groups == convolution.channels_in == convolution.channels_out and block.rows is None
        in_depth = in_depth and convolution._kernel[0] * convolution._kernel[1] <= MOST_IN_DEPTH
        simple = convolution._stride == convolution._dilation == (1, 1) and convolution._kernel == (3, 3) and whole
        plain = convolution._padding == (0, 0) and simple
        return plain if block.reflects else whole or in_depth

    def shape(self, x: Extent) -> Extent | None:
        """That of the output; None if x does not fit."""
        n, h, w, c = x
        high, wide = (
            (size + 2 * pad - apart * (reach - 1) - 1) // step + 1
            for size, pad, apart, reach, step in zip(
                (h, w), self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        fits = c == self.channels[0] and min(high, wide) > 0 and n > 0 and (not self.reflects or min(h, w) > 2)
        return (n, high, wide, self.channels[1]) if fits else None

    def write_forward(
        self, writer: OpWriter, x: Slab, y: Slab, add: Slab | None, kept: Bytes | None, cut: float | None
    ) -> None:
        """y = conv(x) + bias + add.   cut: the height at which its rectifier cuts, 0 for none; None: no rectifier"""
        flags = (REFLECT if self.reflects else 0) | (0 if cut is None else RECTIFY)
        if self.is_exact and (self.bias is None or bool((self.bias == 0).any())):
            flags |= ZEROS
        bias = writer.constant(self._made("bias", lambda: weights.padded(self.bias, self.channels[1], self.width)))
        self._write(
            writer,
            x,
            y,
            "forth",
            self._distances(),
            add=add,
            kept=kept,
            flags=flags,
            bias=bias,
            high=cut or 0.0,
            sy=self.stride[0],
            sx=self.stride[1],
        )

    def write_backward(self, writer: OpWriter, d_y: Slab, d_x: Slab, add: Slab | None, gate: Bytes | None) -> None:
        """d_x = the errors of the input + add, where the gate is open."""
        more: dict[str, Any] = {"add": add, "gate": gate}
        if not self.in_depth and self.channels[0] <= FEW and not self.reflects and self.dilation[1] == 1:
            self._write_at_once(writer, d_y, d_x, more)
            return
        for part in self._phases(d_x):
            distances, fields = part
            self._write(writer, d_y, d_x, "back", distances, **fields, **more)
        if self.reflects:
            self._write_borders(writer, d_y, d_x, gate)

    def write_gradient(self, writer: OpWriter, x: Slab, d_y: Slab, d_weight: Address) -> None:
        """d_weight = the sum over the batch and all places, of a convolution that is_winograd."""
        table = writer.constant(self._table(self._distances()))
        writer.write(Kind.GRADIENT, x, d_y, distances=table, weight=d_weight)

    def renew(self, kernels: Kernels) -> None:
        """Lay out the weights again, after they have changed, in the panels that there are."""
        (inner, outer), weight, (high, wide) = self.channels, self.weight, self.kernel
        for name, panels in self._panels.items():
            if name in ("forth", "back"):
                step, columns = inner * high * wide, (outer, inner) if name == "forth" else (inner, outer)
                steps = (step, high * wide) if name == "forth" else (high * wide, step)
                kernels.call("lay_out", weight, panels, *columns, high * wide, *steps, int(name == "back"))
            else:
                panels.copy_(self._makers[name]())

    def _write(self, writer: OpWriter, x: Slab, y: Slab, panels: str, distances: Distances, **more: Any) -> None:
        """A convolution of any kind."""
        taps = self.kernel[0] * self.kernel[1]
        if self.in_depth:
            kind, name = Kind.DEPTHWISE, f"{panels} in depth"
            made = self._made(name, lambda: weights.by_channel(self.weight, self.width, panels == "back"))
        else:
            kind = Kind.WINOGRAD if len(distances) == 9 and self.is_winograd(y.shape) else Kind.CONVOLVE
            made = self._made(panels, lambda: getattr(weights, panels)(self.weight, self.width))
        table = writer.constant(self._table(distances))
        more = {"taps": len(distances), "weight_taps": taps} | more
        writer.write(kind, x, y, distances=table, weight=writer.constant(made), **more)

    def is_winograd(self, y: Extent) -> bool:
        """Whether the kernels of winograd.c do it, for an output, or errors of the input, of this shape."""
        simple = self.kernel == (3, 3) and self.stride == self.dilation == (1, 1) and not self.in_depth
        n, h, w, _ = y
        return simple and min(self.channels) >= CHANNELS and n * -(-h // 4) * -(-w // 4) >= TILES

    def _distances(self) -> Distances:
        """From where a window begins to its taps."""
        (down, right), (high, wide), (pad, beside) = self.dilation, self.kernel, self.padding
        return [(i * down - pad, j * right - beside, i * wide + j) for i in range(high) for j in range(wide)]

    def _phases(self, d_x: Slab) -> Iterator[tuple[Distances, dict[str, int]]]:
        """Places of d_x that the same taps reach: all, or by their remainders by the stride."""
        for first in itertools.product(*map(range, self.stride)):
            lines, columns = (
                [
                    ((start + pad - tap * apart) // step, reach - 1 - tap)
                    for tap in reversed(range(reach))
                    if (start + pad - tap * apart) % step == 0
                ]
                for start, pad, apart, step, reach in zip(
                    first, self.padding, self.dilation, self.stride, self.kernel, strict=True
                )
            )
            distances = [(i, j, tap * self.kernel[1] + beside) for i, tap in lines for j, beside in columns]
            high, wide = (
                -(-(size - start) // step) for size, start, step in zip(d_x.shape[1:3], first, self.stride, strict=True)
            )
            if high > 0 and wide > 0:
                places = {"y0": first[0], "x0": first[1], "ystep": self.stride[0], "xstep": self.stride[1]}
                yield distances, {"gh": high, "gw": wide, **places}

    def _write_at_once(self, writer: OpWriter, d_y: Slab, d_x: Slab, more: dict[str, Any]) -> None:
        """To few channels."""
        panels = self._made("at once", lambda: weights.at_once(self.weight, self.width))
        distances = self._distances()
        table = writer.constant(self._table(distances))
        reach = (self.kernel[0] - 1) * self.dilation[0]
        writer.write(
            Kind.SPREAD,
            d_y,
            d_x,
            distances=table,
            weight=writer.constant(panels),
            taps=len(distances),
            weight_taps=len(distances),
            gh=reach,
            gw=self.kernel[1],
            x0=self.padding[1],
            sy=self.stride[0],
            sx=self.stride[1],
            **more,
        )

    def _write_borders(self, writer: OpWriter, d_y: Slab, d_x: Slab, gate: Bytes | None) -> None:
        """The errors of the border, added where that is a reflection of: of line -1 to line 1, and so on."""
        _, h, w, _ = d_x.shape
        for down, right in itertools.product((0, 1, -1), (0, 1, -1)):  # which edge
            if down == right == 0:
                continue
            lines, columns = self._reaching(h, down), self._reaching(w, right)
            distances = [(i, j, 3 * tap + beside) for i, tap in lines for j, beside in columns]
            places = {
                "gh": 1 if down else h,
                "sy": int(not down),
                "y0": {0: 0, 1: 1, -1: h - 2}[down],
                "gw": 1 if right else w,
                "sx": int(not right),
                "x0": {0: 0, 1: 1, -1: w - 2}[right],
            }
            self._write(writer, d_y, d_x, "back", distances, add=d_x, gate=gate, **places)

    @staticmethod
    def _reaching(size: int, edge: int) -> list[tuple[int, int]]:
        """(line of d_y, tap) that reach a line of d_x, 0, or the border before the first one, 1, or behind the last."""
        return {0: [(tap - 1, tap) for tap in range(3)], 1: [(0, 2)], -1: [(size - 1, 0)]}[edge]

    def _table(self, distances: Distances) -> Tensor:
        return self._tables.setdefault(str(distances), weights.as_tensor(distances))

    def _made(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        if name not in self._panels:
            self._panels[name], self._makers[name] = make(), make
        return self._panels[name]
