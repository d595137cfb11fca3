"""All kernels of torch that are called by name for a backward pass: what they compute faster than tensor arithmetic.

Each does what its block's docstring says; tests/trust/ holds all blocks against themselves in every order of memory,
of inputs and of d_y, with axes of one and of none, and with expanded ones. Where a kernel is wrong for some of them it
gets another order here: torch's autograd, which calls it as well, has the fault, too, and is no oracle for it.
"""

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten

threshold_backward = _aten.threshold_backward.default
"""(d, x, level) → d where x > level, else 0"""
threshold_backward_into = _aten.threshold_backward.grad_input
hardtanh_backward = _aten.hardtanh_backward.default
"""(d, x, low, high) → d where low < x < high, else 0"""
leaky_relu_backward = _aten.leaky_relu_backward.default
"""(d, y, slope, True) → d where y > 0, else slope · d"""
elu_backward = _aten.elu_backward.default
"""(d, left, right, 1, True, y) → right · d where y > 0, else (y + left · right) · d"""
softplus_backward = _aten.softplus_backward.default
hardswish_backward = _aten.hardswish_backward.default
sigmoid_backward_into = _aten.sigmoid_backward.grad_input
"""(d, y) → d · y (1 − y)"""
tanh_backward = _aten.tanh_backward.default
"""(d, y) → d · (1 − y²)"""
tanh_backward_into = _aten.tanh_backward.grad_input
gelu_backward = _aten.gelu_backward.default
silu_backward = _aten.silu_backward.default
layer_norm_backward = _aten.native_layer_norm_backward.default
convolution_backward = _aten.convolution_backward.default
grid_sampler_backward = _aten.grid_sampler_2d_backward.default
max_pool_backward_into = _aten.max_pool2d_with_indices_backward.grad_input


def group_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, *more: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel reads all three as if they were contiguous. x: contiguous."""
    return torch.native_group_norm(x, _packed(weight), _packed(bias), *more)


def group_norm_backward(
    d_y: Tensor, x: Tensor, mean: Tensor, inverse_std: Tensor, weight: Tensor | None, *more: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel reads d_y and the weight in the order of contiguous memory, whatever their own is. x: contiguous."""
    return _aten.native_group_norm_backward.default(d_y.contiguous(), x, mean, inverse_std, _packed(weight), *more)


def batch_norm_backward(d_y: Tensor, x: Tensor, weight: Tensor | None, *more: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel (CPU, torch 2.13) chooses between two loops by the strides of both, also by those of axes of one.

    These may be any number and say nothing; it then takes numbers of one channel for those of another. One of the
    loops reads the weight as if it were contiguous.
    """
    if 1 in x.shape:
        d_y, x = usual_strides(d_y), usual_strides(x)
    return _aten.native_batch_norm_backward.default(d_y, x, _packed(weight), *more)


def _packed(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.contiguous()


def usual_strides(x: Tensor) -> Tensor:
    """The same numbers, contiguous, with the strides that new memory has, in axes of one as well."""
    return x.contiguous().flatten().view(x.shape)
