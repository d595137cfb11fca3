"""Rows of convolutions with a kernel that the network computes."""

import torch

from blockprop import blocks
from tests.cases.case import Case

GIVEN = (
    (((2, 3, 6, 5), (4, 3, 3, 2)), {}),
    (((2, 3, 6, 5), (4, 3, 3, 2), (4,)), {"stride": 2, "padding": 1}),
    (((2, 4, 7, 5), (6, 2, 3, 2)), {"groups": 2, "stride": (3, 1), "padding": (2, 0), "dilation": (1, 2)}),
    (((2, 3, 9), (4, 3, 3), (4,)), {"padding": 2, "dilation": 2}),
    (((2, 2, 4, 3, 4), (2, 2, 2, 2, 3)), {"stride": (1, 1, 2)}),
    (((2, 3, 4, 3), (3, 4, 3, 2), (4,)), {"transposed": True, "stride": 2, "padding": 1, "output_padding": (1, 0)}),
    (((2, 4, 4), (4, 2, 3)), {"transposed": True, "groups": 2, "stride": 2}),
)


def _reference(block: blocks.Convolve, *x: torch.Tensor) -> torch.Tensor:
    axes = x[0].dim() - 2
    settings = block.stride, block.padding, block.dilation, block.output_padding
    stride, padding, dilation, more = ((one,) * axes if isinstance(one, int) else one for one in settings)
    bias = x[2] if len(x) > 2 else None
    return torch.convolution(x[0], x[1], bias, stride, padding, dilation, block.transposed, more, block.groups)


CASES: list[Case] = [
    Case(
        lambda settings=settings: blocks.Convolve(**settings),
        shapes,
        _reference,
        wrong=(shapes[0], (shapes[1][0] + 1, shapes[1][1] + 1, *shapes[1][2:])),
        batch=None,
        title=f"Convolve, {', '.join(map(str, shapes))}, {settings}",
    )
    for shapes, settings in GIVEN
]
