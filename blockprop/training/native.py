"""Steps of plain networks by a kernel in C, native/training.c: the numbers are those of the blocks, to rounding."""

import math
import time
from ctypes import POINTER, Structure, addressof, byref, c_float, c_int32, c_int64, c_void_p
from typing import Any

import torch
from torch import Tensor

from blockprop.blocks.convolution import Conv2d
from blockprop.blocks.linear import Linear
from blockprop.engine.objectives import cross_entropy
from blockprop.errors import BlockpropError
from blockprop.native.library import library, status, torch_parallel_for
from blockprop.native.memory import floats, is_in_memory
from blockprop.preparing.draft import METHODS
from blockprop.training.batches import Batches
from blockprop.training.plain import BLOCKS, LOSSES, NotPlainError, PlainLayer, plain
from blockprop.training.step import TrainingStep
from blockprop.training.threads import is_small

AT_ONCE = 0.05
"""Seconds that a call may take, in which Ctrl-C has to wait."""


class _Values(Structure):
    """This and what follows is as in training.c, where it is explained."""

    _fields_ = (
        ("panels", c_void_p),
        ("errors", c_void_p),
        ("sheets", c_void_p),
        ("features", c_int64),
        ("stride", c_int64),
    )


class _Layer(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("weight", "bias", "weight_velocity", "bias_velocity")),
        *((name, c_int32) for name in ("kind", "activation")),
        *((name, c_int64) for name in ("channels", "height", "width")),
        *((f"{name}_{side}", c_int64) for name in ("kernel", "padding", "out") for side in ("height", "width")),
        ("slope", c_float),
    )


class _Training(Structure):
    _fields_ = (
        ("values", POINTER(_Values)),
        ("layers", POINTER(_Layer)),
        *((name, c_int64) for name in ("depth", "loss")),
        *((name, c_void_p) for name in ("x", "order", "targets", "sizes")),
        *((name, c_int64) for name in ("steps", "threads", "capacity")),
        *((name, c_void_p) for name in ("losses", "sums", "parallel")),
        *((name, c_float) for name in ("rate", "momentum", "decay")),
    )


class NativeSteps:
    """Makes steps of a TrainingStep, as far as the kernel can.

    reason: why it cannot, in words; empty if it can. Once the blocks make the steps, they make all.
    x, y: an example as a step is given it.   most: examples of the largest batch.
    """

    def __init__(self, stepper: TrainingStep, x: Tensor, y: Tensor, most: int):
        self.stepper, self.most, kernels = stepper, most, library()
        self.reason, self.set, self.shape = "", "", tuple(x.shape[1:])
        self._seen: list[Any] = []
        self._seconds = math.inf  # a step takes
        if kernels is None:
            self.reason = f"native kernels are {status()}"
            return
        self.set = kernels.set
        self._train = kernels.function("train", POINTER(_Training), returns=c_int64)
        self._panel = kernels.function("panel", returns=c_int64)()
        self.is_small = is_small(stepper.parameters.values(), stepper.settings.batch_size)
        try:
            self._require_plain()
            self._require_fitting(x, None, y, [1])
        except NotPlainError as error:
            self.reason = str(error)

    @property
    def by(self) -> str:
        """What makes the steps, in words."""
        return f"{self.stepper.by}: {self.reason}" if self.reason else f"native kernel: {self.set}"

    def some_steps(self, batches: Batches, epoch: int, position: int, seconds: float) -> tuple[list[float], list[int]]:
        """Make the next steps of an epoch, as many as may take so long, or none, as in `steps`.

        Returns the values, and how many examples each step had.
        """
        if self.reason or not is_in_memory(batches.x) or not batches.x.is_contiguous():
            return [], []  # each batch is put into memory when its turn comes
        x, order, y = batches.whole(epoch)
        count = max(1, int(min(seconds, AT_ONCE) / self._seconds))
        first, sizes = batches.sizes[0] * position, batches.sizes[position : position + count]
        rows = slice(first, first + sum(sizes))
        x, order = (x[rows], None) if order is None else (x, order[rows])
        values = self.steps(x, order, y[rows], sizes)
        return values, sizes[: len(values)]

    def steps(self, x: Tensor, order: Tensor | None, y: Tensor, sizes: list[int]) -> list[float]:
        """Make a step on each of the batches of these sizes; return the objective's values, before the updates.

        x, y: the examples in turn; order: which rows of x they are, if not all in turn. There may be fewer steps than
        sizes, or none: what gives no finite value, or does not fit, is left to the blocks, which find words for it.
        """
        if self.reason:
            return []
        x, y = x.contiguous(), y.contiguous()
        try:
            if self._look() != self._seen:
                self._renew()
            self._require_fitting(x, order, y, sizes)
        except NotPlainError as error:
            self.reason = str(error)
            return []
        run, group = self._run, self.stepper.optimizer.param_groups[0]
        counts, values = (c_int64 * len(sizes))(*sizes), (c_float * len(sizes))()
        run.x, run.order, run.targets = x.data_ptr(), None if order is None else order.data_ptr(), y.data_ptr()
        run.sizes, run.losses, run.steps = addressof(counts), addressof(values), len(sizes)
        run.threads = 1 if self.is_small else torch.get_num_threads()
        run.rate, run.momentum, run.decay = group["lr"], group["momentum"], group["weight_decay"]
        begun = time.perf_counter()
        made = self._train(byref(run))
        self._seconds = (time.perf_counter() - begun) / max(1, made)
        if made < 0:
            raise BlockpropError(
                "torch's threads failed in the middle of a step, and the weights may be half updated: go on from a "
                "checkpoint, with BLOCKPROP_NATIVE=0, which trains without native kernels"
            )
        if self._corners:
            torch._foreach_zero_(self._corners)
        return values[:made]

    def _require_fitting(self, x: Tensor, order: Tensor | None, y: Tensor, sizes: list[int]) -> None:
        """NotPlainError unless the kernel may read these as examples and targets."""
        last = self._plain.layers[-1].gives
        if x.dtype is not torch.float32 or not is_in_memory(x) or x.shape[1:] != self.shape:
            raise NotPlainError(f"examples of {x.dtype} and shape {tuple(x.shape[1:])} on {x.device}")
        if LOSSES[self._plain.loss] is cross_entropy:
            fit = y.dtype is torch.int64 and y.dim() == 1
        else:
            fit = y.dtype is torch.float32 and y.shape[1:] in (last, () if last == (1,) else None)
        if not fit or not is_in_memory(y):
            raise NotPlainError(f"targets of {y.dtype} and shape {tuple(y.shape[1:])}")
        if not (x if order is None else order).shape[0] == y.shape[0] == sum(sizes) or max(sizes) > self.most:
            raise NotPlainError("batches of other sizes")

    def _require_plain(self) -> None:
        """NotPlainError unless what learns is a plain network with parameters that the kernel may change."""
        of = self.stepper
        self._plain = plain(of.network, self.shape, of.objective, of.optimizer, of.settings, of.trained, self.most)
        for layer, tensors in zip(self._plain.layers, self._tensors(with_velocities=False), strict=True):
            _require_floats(layer, tensors)

    def _tensors(self, with_velocities: bool = True) -> list[list[Tensor | None]]:
        """Of each layer weight, bias and their velocities, None for each that there is not."""
        optimizer = self.stepper.optimizer
        has = with_velocities and optimizer.param_groups[0]["momentum"]
        all_of_them = []
        for layer in self._plain.layers:
            own = [getattr(layer.block, name, None) for name in ("weight", "bias")]
            velocities = [optimizer.velocity(tensor) if has and tensor is not None else None for tensor in own]
            all_of_them.append(own + velocities)
        return all_of_them

    def _look(self) -> list[Any]:
        """All that the kernel was told of, as it is now: methods, settings, the places of tensors."""
        blocks = self._plain.blocks
        seen: list[Any] = [getattr(kind, name) for kind in dict.fromkeys(map(type, blocks)) for name in METHODS]
        seen += [len(vars(block)) for block in blocks]
        seen += [layer.slope for layer in self._plain.layers]
        return seen + [tensor if tensor is None else tensor.data_ptr() for each in self._tensors() for tensor in each]

    def _renew(self) -> None:
        """Tell the kernel of all that it is to change, and give it room; NotPlainError if that does not do any more."""
        self._require_plain()
        layers, tensors = self._plain.layers, self._tensors()
        for layer, each in zip(layers, tensors, strict=True):
            _require_floats(layer, each)
        changed = [tensor for each in tensors for tensor in each if tensor is not None]
        # Of no size: setting them to 0 tells torch, which counts changes of tensors, that these were changed.
        self._corners = [tensor.detach().view(-1)[:0] for tensor in changed if not tensor.is_inference()]
        self._held = [tensor.detach() for tensor in changed]
        values, parts = (_Values * (len(layers) + 1))(), (_Layer * len(layers))()
        panels = -(-self.most // self._panel)
        for i, value in enumerate(values):
            value.features = math.prod(layers[i].takes if i < len(layers) else layers[-1].gives)
            value.stride = -(-value.features // self._panel) * self._panel
            size = panels * value.stride * self._panel
            above = type(layers[i].block) if i < len(layers) else None
            value.panels = value.errors = self._room(size)
            if i and above is Conv2d:
                value.errors = self._room(size)
            if i == 0 or above is Linear:
                value.sheets = self._room(size)
        for part, layer, each in zip(parts, layers, tensors, strict=True):
            addresses = [tensor if tensor is None else tensor.data_ptr() for tensor in each]
            part.weight, part.bias, part.weight_velocity, part.bias_velocity = addresses
            part.kind, part.activation, part.slope = BLOCKS.index(type(layer.block)), layer.number, layer.slope
            if len(layer.takes) == 3:
                part.channels, part.height, part.width = layer.takes
                _, part.out_height, part.out_width = layer.gives
                (part.kernel_height, part.kernel_width), (part.padding_height, part.padding_width) = layer.window
        self._run = _Training(values, parts, len(layers), self._plain.loss)
        self._run.capacity = panels * self._panel
        self._run.sums, self._run.parallel = self._room(2 * panels), torch_parallel_for()
        self._seen = self._look()

    def _room(self, count: int) -> int:
        """The address of so many zeros."""
        self._held.append(floats(count).zero_())
        return int(self._held[-1].data_ptr())


def _require_floats(layer: PlainLayer, tensors: list[Tensor | None]) -> None:
    """NotPlainError unless the kernel may change these of a layer, as `_tensors` gives them."""
    for i, tensor in enumerate(tensors):
        if tensor is None:
            continue
        if tensor.dtype is not torch.float32 or not is_in_memory(tensor):
            raise NotPlainError(f"weights of {tensor.dtype} on {tensor.device}")
        if tensor.shape != layer.shapes[i % 2] or not tensor.is_contiguous():
            raise NotPlainError("weights that do not lie in one piece")
