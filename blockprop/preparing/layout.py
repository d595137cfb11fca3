"""The order of numbers in memory that suits the kernels, and convolutions in it. Faster kernels come in here.

On a CPU channels lie beside each other, and in float32 the weights as oneDNN's kernel for just this size of pictures
wants them. (Where places are few, as in the last layers, putting the weights in this order at each call, as torch does,
takes as long as the convolution.)
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_pack: Any = getattr(torch._C._nn, "mkldnn_reorder_conv2d_weight", None)
_convolve_packed: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)
_is_there = _pack is not None and _convolve_packed is not None and torch.backends.mkldnn.is_available()


def laid_out(x: Tensor) -> Tensor:
    """(n, c, h, w) with the channels of a place beside each other, which suits convolutions on CPUs."""
    return x.contiguous(memory_format=torch.channels_last) if x.is_cpu or x.is_meta else x


def empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """New memory, (n, c, h, w), laid out."""
    order = torch.channels_last if like.is_cpu or like.is_meta else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)


def reflected(x: Tensor) -> Tensor:
    """(n, c, h, w) with a border of one pixel, the reflection of those beside the edge."""
    if x.is_meta:  # torch would lay that out in another way
        return empty((*x.shape[:2], x.shape[2] + 2, x.shape[3] + 2), x)
    return F.pad(x, (1, 1, 1, 1), mode="reflect")


class Convolution:
    """conv(x, weight) + bias, and its ReLU if asked for, with fixed weights.   weight, bias: as in F.conv2d"""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ):
        self.weight, self.bias = laid_out(weight), bias
        self._places = padding, stride, dilation, groups
        self._packed: tuple[Any, Any] = (None, None)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": (None, None)}  # which torch cannot copy

    @property
    def still_to_lay_out(self) -> int:
        """Bytes of weights in the order of oneDNN's kernel, which the first call makes; 0 behind it."""
        return 0 if not self._has_kernel or self._packed[1] is not None else self.weight.nbytes

    @property
    def _has_kernel(self) -> bool:
        return _is_there and self.weight.is_cpu and self.weight.dtype == torch.float32

    def __call__(self, x: Tensor, rectify: bool = False) -> Tensor:
        x = laid_out(x)
        padding, stride, dilation, groups = self._places
        if self._has_kernel and x.is_cpu and x.dtype == torch.float32 and x.numel():
            shape, packed = self._packed
            if shape != x.shape:
                packed = _pack(self.weight.to_mkldnn(), *self._places, list(x.shape))
                self._packed = x.shape, packed
            y = _convolve_packed(x, packed, self.bias, *self._places, "none", [], "")
            return y.relu_() if rectify else y  # its own ReLU makes 0 of NaN, which nobody would learn of
        if x.is_meta:  # to see what it would take; torch would lay that out in another way
            return empty(self._shape(x.shape), x)
        y = F.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        return y.relu_() if rectify else y

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        padding, stride, dilation, _ = self._places
        sizes = [
            (size + 2 * pad - apart * (reach - 1) - 1) // step + 1
            for size, pad, apart, reach, step in zip(
                shape[2:], padding, dilation, self.weight.shape[2:], stride, strict=True
            )
        ]
        return (shape[0], len(self.weight), *sizes)
