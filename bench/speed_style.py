"""Rows: one evaluation of the loss of artistic style, beside the paper written plainly (plain_style.py)."""

from functools import partial

import torch
from plain_style import Plain, vgg, with_weights
from speed_gradients import GRADIENTS, VGG19, pictures
from speed_row import BY_TORCH, OURS, Row, Run, Way, by_torch_kernels, input_gradient

from blockprop.visualize.style.run import Stylization
from blockprop.visualize.style.stylize import stylize

HEIGHT, WIDTH = 240, 320
content, painting = pictures(1, 3, HEIGHT, WIDTH), pictures(1, 3, WIDTH, HEIGHT)


def begun(dtype: torch.dtype) -> Stylization:
    """At its only size, with its losses there."""
    network = VGG19.network().to(dtype=dtype)
    settings = {"scales": 1, "details": 1.0, "range_weight": 0.0}
    run = stylize(network, content(dtype), painting(dtype), WIDTH, 1, **settings)
    run.enter(0)
    return run


def ours(dtype: torch.dtype) -> Run:
    run = begun(dtype)
    assert run.losses is not None
    losses, x = run.losses, run.content
    return lambda: losses(x).d


def by_autograd(dtype: torch.dtype, tuned: bool) -> Run:
    """tuned: channels last in memory."""
    run = begun(dtype)
    module = with_weights(vgg(run.network).to(dtype), run.network)
    plain = Plain(module, run)
    if tuned:
        plain.module.to(memory_format=torch.channels_last)
        plain.x = plain.x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()

    def evaluated() -> torch.Tensor:
        plain.x.grad = None
        plain.evaluate()
        assert plain.x.grad is not None
        return plain.x.grad

    return evaluated


ROWS = {
    f"artistic style, VGG-19 to conv5_1, {WIDTH} × {HEIGHT}": Row(
        GRADIENTS,
        {
            OURS: Way(ours),
            BY_TORCH: Way(by_torch_kernels(ours)),
            "autograd": Way(partial(by_autograd, tuned=False)),
            "tuned autograd": Way(partial(by_autograd, tuned=True)),
        },
        lambda: input_gradient(VGG19.network(), content(torch.float32)),
        wanted={BY_TORCH: 1.0, "tuned autograd": 1.0},
        pixels=HEIGHT * WIDTH,
    )
}
