"""Plain networks at random that learn by the native kernel, beside the formulas in float64."""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Conv2d, Flatten, LeakyReLU, Linear, MaxPool2d, ReLU, Sigmoid, Tanh
from blockprop.engine.block import Block
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.training.batches import batch_sizes, shuffled
from blockprop.training.fit import fit
from blockprop.training.plain import FEWEST, MOST_CHANNELS

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 28, 29, 31, 32, 33, 48, 63, 64, 65, 100, 129)
"""Around the sizes of vectors and blocks of every instruction set."""
ACTIVATIONS = (None, ReLU, LeakyReLU, Sigmoid, Tanh)

NEAR = 3e-6
LARGE = 1e3
"""A loss beyond which learning goes wherever rounding leads it."""


class Task(NamedTuple):
    """A network with its data, and how it learns."""

    blocks: list[Block]
    x: Tensor
    y: Tensor
    is_classes: bool
    settings: dict[str, Any]

    def __str__(self) -> str:
        layers = ", ".join(map(repr, self.blocks))
        return f"{layers}; {len(self.x)} examples, {'classes' if self.is_classes else 'numbers'}, {self.settings}"


def task(seed: int, case: int, steps: int = 1) -> Task:
    """One at random, of so many steps."""
    choose = random.Random(f"{seed} {case}")
    torch.manual_seed(choose.randrange(2**31))
    blocks: list[Block] = []
    size = choose.choice(WIDTHS)
    if choose.random() < 0.4:
        shape, width = _pictures(choose, blocks)
        size = max(size, FEWEST)
    else:
        width = choose.choice(WIDTHS)
        shape = (width,)
        if choose.random() < 0.3:
            shape = (1, width)
            blocks.append(Flatten())
    for _ in range(choose.randint(1, 4)):
        blocks.append(Linear(width, after := choose.choice(WIDTHS), with_bias=choose.random() < 0.8))
        width = after
        _activate(choose, blocks)
    is_classes = choose.random() < 0.6
    if is_classes and not isinstance(blocks[-1], Linear):
        blocks.pop()
    for block in blocks:
        if isinstance(block, Linear | Conv2d) and block.bias is not None:
            torch.nn.init.normal_(block.bias)
    count = size * steps - (choose.randrange(size) if steps > 1 else 0)
    x = torch.randn(count, *shape)
    y = torch.randint(width, (count,)) if is_classes else torch.randn(count, width)
    settings = {
        "batch_size": size,
        "rate": choose.choice((0.01, 0.1)),
        "momentum": choose.choice((0.0, 0.9, 0.9)),
        "weight_decay": choose.choice((0.0, 0.01)),
        "seed": case,
    }
    return Task(blocks, x, y, is_classes, settings)


def _pictures(choose: random.Random, blocks: list[Block]) -> tuple[tuple[int, ...], int]:
    """Convolutions and poolings, and Flatten; the shape of an example, and how many numbers come out."""
    shape = channels, height, width = choose.choice((1, 2, 3, 5)), choose.randint(5, 13), choose.randint(5, 13)
    for _ in range(choose.randint(1, 3)):
        (m, p), (n, q) = ((k, choose.randint(0, k - 1)) for k in (choose.choice((1, 2, 3, 5)) for _ in range(2)))
        if height + 2 * p < m or width + 2 * q < n or channels > MOST_CHANNELS:
            continue
        after = choose.choice((1, 3, 6, 8, 14, 15, 16, 31))
        blocks.append(Conv2d(channels, after, (m, n), padding=(p, q), with_bias=choose.random() < 0.8))
        channels, height, width = after, height + 2 * p - m + 1, width + 2 * q - n + 1
        _activate(choose, blocks)
        m, n = choose.choice((1, 2, 3)), choose.choice((1, 2, 3))
        if choose.random() < 0.6 and height >= m and width >= n:
            blocks.append(MaxPool2d((m, n)))
            height, width = height // m, width // n
    blocks.append(Flatten())
    return shape, channels * height * width


def _activate(choose: random.Random, blocks: list[Block]) -> None:
    kind = choose.choice(ACTIVATIONS)
    if kind is not None:
        blocks.append(LeakyReLU(choose.choice((0.0, 0.01, 0.3))) if kind is LeakyReLU else kind())


def expected(given: Task) -> tuple[list[float], list[tuple[Tensor, Tensor]], float]:
    """In float64: the loss before each step; after the last one each parameter with its V; how near z came to a bend.

    At a bend of ReLU rounding may decide, and at windows whose maxima are nearly the same.
    """
    weights: dict[int, Tensor] = {}
    for i, block in enumerate(given.blocks):
        if isinstance(block, Linear | Conv2d):
            weights[i] = block.weight.double().flatten(1)
            if block.bias is not None:
                weights[-1 - i] = block.bias.double()
    velocities = {i: torch.zeros_like(weight) for i, weight in weights.items()}
    losses, nearest = [], 1.0
    sizes = batch_sizes(len(given.x), given.settings["batch_size"])
    for rows in shuffled(len(given.x), given.settings["seed"], 1).split(sizes):
        x, saved = given.x[rows].double(), []
        for i, block in enumerate(given.blocks):
            x, columns, near = _forward(block, x, weights.get(i), weights.get(-1 - i))
            saved.append((columns, x))
            nearest = min(nearest, near)
        loss, d = _loss(x, given.y[rows], given.is_classes)
        losses.append(loss)
        gradients: dict[int, Tensor] = {}
        for i, block in reversed([*enumerate(given.blocks)]):
            d, gradients[i], gradients[-1 - i] = _backward(block, *saved[i], d, weights.get(i))
        for i, weight in weights.items():
            velocities[i] *= given.settings["momentum"]
            velocities[i] += gradients[i] + given.settings["weight_decay"] * weight
            weight -= given.settings["rate"] * velocities[i]
    order = [i for k in range(len(given.blocks)) for i in (k, -1 - k) if i in weights]
    return losses, [(weights[i], velocities[i]) for i in order], nearest


def _forward(block: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Any, float]:
    """y, what the way back needs, and how near a bend is; a convolution is a product with its windows as columns."""
    shift: Any = 0 if bias is None else bias.unsqueeze(1) if isinstance(block, Conv2d) else bias
    if isinstance(block, Flatten):
        return x.flatten(1), x.shape, 1.0
    if isinstance(block, Linear):
        assert weight is not None
        return x @ weight.t() + shift, x, 1.0
    if isinstance(block, Conv2d):
        columns = F.unfold(x, block.kernel, padding=block.padding)
        sizes = [n + 2 * p - k + 1 for n, k, p in zip(x.shape[2:], block.kernel, block.padding, strict=True)]
        return (weight @ columns + shift).view(len(x), -1, *sizes), (columns, x.shape), 1.0
    if isinstance(block, MaxPool2d):
        (m, n), (height, width) = block.kernel, (size // k for size, k in zip(x.shape[2:], block.kernel, strict=True))
        windows = x[..., : height * m, : width * n].unflatten(3, (width, n)).unflatten(2, (height, m)).transpose(3, 4)
        windows = windows.flatten(4)
        two = windows.topk(min(2, m * n), 4).values
        gaps = (two[..., 0] - two[..., -1])[two[..., 0] != two[..., -1]]
        return windows.amax(4), (windows.argmax(4), x.shape), float(gaps.min()) if gaps.numel() else 1.0
    if isinstance(block, Sigmoid | Tanh):
        return (1 / (1 + (-x).exp()) if isinstance(block, Sigmoid) else x.tanh()), None, 1.0
    return torch.where(x > 0, x, getattr(block, "negative_slope", 0.0) * x), None, float(x.abs().min())


def _backward(block: Any, saved: Any, y: Tensor, d: Tensor, weight: Tensor | None) -> tuple[Tensor, Any, Any]:
    """d_x, and the gradients of weight and bias."""
    if isinstance(block, Flatten):
        return d.view(saved), None, None
    if isinstance(block, Linear):
        return d @ weight, d.t() @ saved, d.sum(0)
    if isinstance(block, Conv2d):
        assert weight is not None
        columns, shape = saved
        d = d.flatten(2)
        d_x = F.fold(weight.t() @ d, shape[2:], block.kernel, padding=block.padding)
        return d_x, (d @ columns.transpose(1, 2)).sum(0), d.sum((0, 2))
    if isinstance(block, MaxPool2d):
        (best, shape), (m, n) = saved, block.kernel
        height, width = best.shape[2:]
        windows = torch.zeros(*best.shape, m * n).double().scatter(4, best.unsqueeze(4), d.unsqueeze(4))
        d_x = torch.zeros(shape).double()
        inside = windows.unflatten(4, (m, n)).transpose(3, 4).flatten(4).flatten(2, 3)
        d_x[..., : height * m, : width * n] = inside
        return d_x, None, None
    if isinstance(block, Sigmoid | Tanh):
        return (y * (1 - y) if isinstance(block, Sigmoid) else 1 - y * y) * d, None, None
    return torch.where(y > 0, d, getattr(block, "negative_slope", 0.0) * d), None, None


def _loss(y: Tensor, t: Tensor, is_classes: bool) -> tuple[float, Tensor]:
    if not is_classes:
        return float(((y - t) ** 2).mean()), 2 * (y - t) / y.numel()
    rows = torch.arange(len(t))
    p = y.softmax(1)
    loss = float((y.logsumexp(1) - y[rows, t]).mean())
    p[rows, t] -= 1
    return loss, p / len(t)


class Difference(NamedTuple):
    """From the formulas, of losses, weights and V, relative to the largest of each tensor; kernel: the kernel's."""

    case: int
    steps: int
    kernel: float
    blocks: float
    what: str

    @property
    def is_fault(self) -> bool:
        """Whether it is more than rounding, of which the blocks tell how much it does."""
        return not self.kernel <= (self.steps + 1) * max(1e-6, 2 * self.blocks)


def differences(seed: int, cases: range, steps: int = 1) -> Iterator[Difference]:
    """Those of all cases that neither come too near to a bend nor grow beyond bounds."""
    for case in cases:
        given = task(seed, case, steps)
        starts = [
            (block, block.weight.clone(), block.bias) for block in given.blocks if isinstance(block, Linear | Conv2d)
        ]
        losses, tensors, nearest = expected(given)
        if nearest < NEAR * steps or not max(losses) < LARGE:
            continue
        errors = []
        for by in ("native kernel", "blocks"):
            for block, weight, bias in starts:
                block.weight, block.bias = weight.clone(), None if bias is None else bias.clone()
            errors.append(_error(given, by, losses, tensors))
        yield Difference(case, steps, *errors, str(given))


def _error(given: Task, by: str, losses: list[float], tensors: list[tuple[Tensor, Tensor]]) -> float:
    """The largest difference of what learns now."""
    network = Sequential(*given.blocks)
    objective = cross_entropy() if given.is_classes else mean_squared_error()
    run = fit(network, (given.x, given.y), objective, epochs=1, **given.settings)
    if by == "blocks":
        run.native.reason = "they are compared"
    records = list(run)
    assert {record.native for record in records} == {by != "blocks"}, f"{run.by}: {given}"
    found = [abs(record.value - loss) / (loss + 1e-2) for record, loss in zip(records, losses, strict=True)]
    for parameter, (weight, velocity) in zip(network.parameters.values(), tensors, strict=True):
        found.append(_difference(parameter.flatten(1) if parameter.dim() > 1 else parameter, weight))
        if given.settings["momentum"]:
            found.append(_difference(run.optimizer.velocity(parameter).view_as(velocity), velocity))
    return max(found)


def _difference(came: Tensor, wanted: Tensor) -> float:
    return float((came.double() - wanted).abs().max() / (wanted.abs().max() + 1e-4))
