"""Kernels in C in prepared networks: each against its formula in float64, in every instruction set of this machine."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Clamp, Conv2d, MaxPool2d, ReLU
from blockprop.native.library import Library, _opened, usable_sets
from blockprop.native.program import RECTIFY, Kind
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.native import kernels as kernels_module
from blockprop.preparing.native.arena import Buffer, Slab
from blockprop.preparing.native.convolutions import native_of
from blockprop.preparing.native.kernels import Kernels, kernels, picture
from blockprop.preparing.native.poolings import pooled, write_pool
from blockprop.preparing.native.writing import OTHERS, Compiled, OpWriter, Saving
from blockprop.preparing.pooling import FixedMaxPool2d

pytestmark = pytest.mark.skipif(kernels() is None, reason="no kernels in C here")
SETS = usable_sets() if kernels() else []
GUARD = 4096


@pytest.fixture(params=SETS)
def native(request: pytest.FixtureRequest) -> Kernels:
    file = _opened()
    assert not isinstance(file, str)
    return Kernels(Library(file, request.param))


def run(native: Kernels, program: Compiled, saved: Tensor, *pictures: Tensor, threads: int = 2) -> None:
    """In an arena of NaN, so that nobody may use what was not written, and with a guard behind it."""
    arena = torch.full((program.arena // 4 + 1 + GUARD,), torch.nan)
    pieces = program.addresses(arena.data_ptr(), saved.data_ptr(), *(tensor.data_ptr() for tensor in pictures))
    native._run(program.ops, len(program.ops), pieces, threads, kernels_module.torch_parallel_for())
    assert arena[-GUARD:].isnan().all()


def outside(i: int, x: Tensor) -> Slab:
    n, c, h, w = x.shape
    return Slab(Buffer(OTHERS + i), (n, h, w, c), c)


def laid_out(x: Tensor) -> Tensor:
    """The same numbers, with NaN behind them."""
    n, c, h, w = x.shape
    made = picture((n, h, w, c))
    made.as_strided((made.untyped_storage().nbytes() // 4,), (1,)).fill_(torch.nan)
    return made.copy_(x)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


CONVOLUTIONS: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 20, 17, 40), {"kernel": 3, "stride": 2, "padding": 1}),
    ((2, 3, 23, 23, 24), {"kernel": 7, "stride": 2, "padding": 3}),
    ((1, 1, 9, 9, 1), {"kernel": 5, "padding": 2}),
    ((2, 16, 14, 13, 64), {"kernel": 3, "padding": 1}),
    ((1, 64, 30, 35, 33), {"kernel": 3, "padding": 1}),
    ((1, 40, 12, 9, 70), {"kernel": 3, "padding": 0}),
    ((1, 24, 15, 15, 17), {"kernel": 3, "padding": 2}),
    ((1, 130, 16, 16, 100), {"kernel": 3, "padding": 1}),
    ((1, 20, 9, 8, 24), {"kernel": 3, "stride": 2, "padding": 1}),
    ((2, 48, 7, 7, 30), {"kernel": 1}),
    ((1, 8, 9, 10, 300), {"kernel": 1, "stride": 2}),
    ((1, 17, 13, 11, 19), {"kernel": (5, 3), "padding": (2, 1), "dilation": (1, 2)}),
    ((1, 6, 17, 16, 5), {"kernel": 3, "stride": (3, 2), "dilation": 2, "padding": 2}),
    ((2, 37, 11, 12, 37), {"kernel": 3, "padding": 1, "groups": 37}),
    ((1, 96, 15, 14, 96), {"kernel": 5, "stride": 2, "padding": 2, "groups": 96}),
    ((1, 512, 4, 4, 1), {"kernel": 4}),
]


@pytest.mark.parametrize("bound", [None, 0.0, 2.0])
@pytest.mark.parametrize(("shape", "settings"), CONVOLUTIONS, ids=str)
def test_a_convolution_and_its_errors(
    native: Kernels, shape: tuple[int, ...], settings: dict[str, Any], bound: float | None
) -> None:
    """y = the rectifier of conv(x) + bias + add;   d_x = conv'(d_y) + more, where a gate is open."""
    n, c, h, w, out = shape
    convolution = Conv2d(c, out, **settings)
    convolution.bias = random(out)
    rectifier = {None: None, 0.0: ReLU(), 2.0: Clamp(0, 2)}[bound]
    made = native_of(FixedConv2d(convolution, rectifier=rectifier), native.width)
    x = random(n, c, h, w)
    places = convolution._stride, convolution._padding, convolution._dilation, convolution.groups
    exact = x.double().requires_grad_()
    plain = F.conv2d(exact, convolution.weight.double(), convolution.bias.double(), *places)
    add = random(*plain.shape)
    y = plain.detach() + add
    y = y if bound is None else y.clamp(0, bound or None)

    pictures = [laid_out(x), laid_out(torch.zeros_like(add)), laid_out(add)]
    writer, saving = OpWriter(native.width, 3), Saving(native.width)
    kept = saving.bits(outside(1, add))
    views = [outside(i, tensor) for i, tensor in enumerate(pictures)]
    made.write_forward(writer, views[0], views[1], views[2], kept if bound is not None else None, made.cut)
    saved = torch.zeros(saving.size, dtype=torch.uint8)
    run(native, native.program(writer, 2), saved, *pictures)
    torch.testing.assert_close(pictures[1].double(), y, rtol=1e-5, atol=2e-5)

    d_y, more = random(*plain.shape), random(n, c, h, w)
    (expected,) = torch.autograd.grad(plain, exact, d_y.double())
    gate = random(n, c, h, w) > 0
    writer, saving = OpWriter(native.width, 3), Saving(native.width)
    pictures = [laid_out(d_y), laid_out(torch.zeros_like(x)), laid_out(more)]
    views = [outside(i, tensor) for i, tensor in enumerate(pictures)]
    if d_y.shape[1] % native.width:
        views[0] = writer.write(Kind.PASS, views[0], writer.room(views[0].shape))
    bits = saving.bits(views[1])
    source = laid_out(gate.float())
    keeping = OpWriter(native.width, 2)  # where a picture of ones and zeros is open
    keeping.write(Kind.PASS, outside(0, source), outside(1, source), kept=bits, flags=RECTIFY)
    saved = torch.zeros(saving.size, dtype=torch.uint8)
    run(native, native.program(keeping, 2), saved, source, laid_out(source))
    made.write_backward(writer, views[0], views[1], views[2], bits)
    run(native, native.program(writer, 2), saved, *pictures)
    torch.testing.assert_close(pictures[1].double(), (expected + more) * gate, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("shape", [(1, 3, 8, 9, 20), (2, 16, 3, 3, 32), (1, 64, 17, 18, 40)], ids=str)
def test_a_reflection_before_a_convolution(native: Kernels, shape: tuple[int, ...]) -> None:
    n, c, h, w, out = shape
    convolution = Conv2d(c, out, 3)
    made = native_of(FixedConv2d(convolution, reflects=True), native.width)
    x = random(n, c, h, w)
    exact = x.double().requires_grad_()
    y = F.conv2d(F.pad(exact, (1, 1, 1, 1), mode="reflect"), convolution.weight.double(), convolution.bias.double())
    d_y = random(*y.shape)
    (expected,) = torch.autograd.grad(y, exact, d_y.double())
    for source, target, back in ((x, y.detach(), False), (d_y, expected, True)):
        pictures = [laid_out(source), laid_out(torch.zeros(target.shape))]
        writer = OpWriter(native.width, 2)
        view = outside(0, source)
        if source.shape[1] % native.width:
            view = writer.write(Kind.PASS, view, writer.room(view.shape))
        if back:
            made.write_backward(writer, view, outside(1, pictures[1]), None, None)
        else:
            made.write_forward(writer, view, outside(1, pictures[1]), None, None, None)
        run(native, native.program(writer, 2), torch.zeros(1), *pictures)
        torch.testing.assert_close(pictures[1].double(), target, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2, 33, 9, 11), {"kernel": 3, "stride": 2, "ceil_mode": True}),
        ((1, 64, 8, 8), {"kernel": 2}),
        ((1, 5, 10, 7), {"kernel": 3, "stride": 1, "padding": 1}),
        ((1, 16, 13, 13), {"kernel": (3, 2), "stride": (2, 3), "dilation": 2}),
    ],
    ids=str,
)
def test_a_pooling_and_its_errors(native: Kernels, shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    """The first of equal maxima takes the error; whole numbers make many equal."""
    pool = FixedMaxPool2d(MaxPool2d(**settings))
    x = random(*shape).mul(2).round()
    y, _ = pool.pool.forward(x)
    n, c, h, w = shape
    out = pooled(pool, (n, h, w, c))
    assert out == (n, *y.shape[2:], c)
    writer, saving = OpWriter(native.width, 2), Saving(native.width)
    pictures = [laid_out(x), laid_out(torch.zeros_like(y))]
    source = writer.write(Kind.PASS, outside(0, x), writer.room((n, h, w, c)))
    winners = saving.places(outside(1, y))
    write_pool(writer, Kind.POOL, pool, source, outside(1, y), winners)
    saved = torch.zeros(saving.size, dtype=torch.uint8)
    run(native, native.program(writer, 2), saved, *pictures)
    assert torch.equal(pictures[1], y)

    d_y = random(*y.shape)
    (expected,) = pool.pool.propagate(pool.pool.forward(x)[1], d_y)
    pictures = [laid_out(d_y), laid_out(torch.zeros_like(x))]
    writer = OpWriter(native.width, 2)
    source = writer.write(Kind.PASS, outside(0, d_y), writer.room(out))
    write_pool(writer, Kind.UNPOOL, pool, source, outside(1, x), winners)
    run(native, native.program(writer, 2), saved, *pictures)
    torch.testing.assert_close(pictures[1], expected)
