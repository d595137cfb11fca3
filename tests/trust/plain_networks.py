"""Plain networks at random that learn by the native kernel, beside the formulas in float64."""

import itertools
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.blocks import Flatten, LeakyReLU, Linear, ReLU, Sigmoid, Tanh
from blockprop.engine.block import Block
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.training.batches import batch_sizes, shuffled
from blockprop.training.fit import fit

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 28, 29, 31, 32, 33, 48, 63, 64, 65, 100, 129)
"""Around the sizes of vectors and blocks of every instruction set."""
ACTIVATIONS = (None, ReLU, LeakyReLU, Sigmoid, Tanh)

NEAR = 3e-6


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
    widths = [choose.choice(WIDTHS) for _ in range(choose.randint(2, 5))]
    is_classes = choose.random() < 0.6
    blocks: list[Block] = [Flatten()] if choose.random() < 0.3 else []
    for before, after in itertools.pairwise(widths):
        blocks.append(Linear(before, after, with_bias=choose.random() < 0.8))
        torch.nn.init.normal_(blocks[-1].weight, std=before**-0.5)
        if blocks[-1].bias is not None:
            torch.nn.init.normal_(blocks[-1].bias)
        kind = choose.choice(ACTIVATIONS)
        if kind is not None:
            blocks.append(LeakyReLU(choose.choice((0.0, 0.01, 0.3))) if kind is LeakyReLU else kind())
    if is_classes and not isinstance(blocks[-1], Linear):
        blocks.pop()
    size = choose.choice(WIDTHS)
    count = size * steps - (choose.randrange(size) if steps > 1 else 0)
    shape = (1, widths[0]) if blocks[0].__class__ is Flatten else (widths[0],)
    x = torch.randn(count, *shape)
    y = torch.randint(widths[-1], (count,)) if is_classes else torch.randn(count, widths[-1])
    settings = {
        "batch_size": size,
        "rate": choose.choice((0.01, 0.1)),
        "momentum": choose.choice((0.0, 0.9, 0.9)),
        "weight_decay": choose.choice((0.0, 0.01)),
        "seed": case,
    }
    return Task(blocks, x, y, is_classes, settings)


def expected(given: Task) -> tuple[list[float], list[tuple[Tensor, Tensor]], float]:
    """In float64: the loss before each step; after the last one each parameter with its V; how near z came to a bend.

    At a bend of ReLU rounding may decide.
    """
    layers: list[list[Any]] = []
    for block in given.blocks:
        if isinstance(block, Linear):
            layers.append([block.weight.double(), None if block.bias is None else block.bias.double(), None])
        elif not isinstance(block, Flatten):
            layers[-1][2] = block
    velocities = [[0.0, 0.0] for _ in layers]
    losses, nearest = [], 1.0
    sizes = batch_sizes(len(given.x), given.settings["batch_size"])
    for rows in shuffled(len(given.x), given.settings["seed"], 1).split(sizes):
        values, t = [given.x[rows].double().flatten(1)], given.y[rows]
        for weight, bias, f in layers:
            z = values[-1] @ weight.t() + (0 if bias is None else bias)
            values.append(_activated(f, z))
            nearest = min(nearest, float(z.abs().min())) if isinstance(f, ReLU | LeakyReLU) else nearest
        loss, d = _loss(values[-1], t, given.is_classes)
        losses.append(loss)
        for (weight, bias, f), velocity, x, y in reversed([*zip(layers, velocities, values, values[1:], strict=False)]):
            d = d * _slope(f, y)
            gradients, d = (d.t() @ x, d.sum(0)), d @ weight
            for i, (w, gradient) in enumerate(zip((weight, bias), gradients, strict=True)):
                if w is not None:
                    decayed = gradient + given.settings["weight_decay"] * w
                    velocity[i] = given.settings["momentum"] * velocity[i] + decayed
                    w -= given.settings["rate"] * velocity[i]
    pairs = [pair for layer, v in zip(layers, velocities, strict=True) for pair in zip(layer[:2], v, strict=True)]
    return losses, [(w, v) for w, v in pairs if w is not None], nearest


def _activated(f: Any, z: Tensor) -> Tensor:
    if f is None:
        return z
    functions = {ReLU: lambda: z.clamp_min(0), Sigmoid: lambda: 1 / (1 + (-z).exp()), Tanh: z.tanh}
    return functions[type(f)]() if type(f) in functions else torch.where(z > 0, z, f.negative_slope * z)


def _slope(f: Any, y: Tensor) -> Tensor:
    if f is None:
        return torch.ones_like(y)
    if isinstance(f, Sigmoid | Tanh):
        return y * (1 - y) if isinstance(f, Sigmoid) else 1 - y * y
    return torch.where(y > 0, 1.0, getattr(f, "negative_slope", 0.0)).double()


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
    kernel: float
    blocks: float
    what: str

    @property
    def is_fault(self) -> bool:
        """Whether it is more than rounding, of which the blocks tell how much it does."""
        return not self.kernel <= max(2e-6, 4 * self.blocks)


def differences(seed: int, cases: range, steps: int = 1) -> Iterator[Difference]:
    """Those of all cases that do not come too near to a bend."""
    for case in cases:
        given = task(seed, case, steps)
        starts = [(block, block.weight.clone(), block.bias) for block in given.blocks if isinstance(block, Linear)]
        losses, tensors, nearest = expected(given)
        if nearest < NEAR * steps:
            continue
        errors = []
        for by in ("native kernel", "blocks"):
            for block, weight, bias in starts:
                block.weight, block.bias = weight.clone(), None if bias is None else bias.clone()
            errors.append(_error(given, by, losses, tensors))
        yield Difference(case, *errors, str(given))


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
        found.append(_difference(parameter, weight))
        if given.settings["momentum"]:
            found.append(_difference(run.optimizer.velocity(parameter), velocity))
    return max(found)


def _difference(came: Tensor, wanted: Tensor) -> float:
    return float((came.double() - wanted).abs().max() / (wanted.abs().max() + 1e-4))
