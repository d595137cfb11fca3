"""Rows: training steps. All train the same network on the same batches by plain gradient descent, a pass at a time.

A step: choose the batch, forward, loss (as a number that one can print), backward, update.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from speed_row import Row, Run, Way, Work
from torch import Tensor, nn
from torch_twins import Graph

from blockprop import build_network, cross_entropy, fit
from blockprop.engine.network import Network
from blockprop.reports.costs import costs

GROUP, RATE, CLASSES = "training", 0.01, 10


class Task(NamedTuple):
    """A network, as `build_network` names it, and its batches; steps: in a pass over the data."""

    network: str
    shape: tuple[int, ...]
    batch: int
    steps: int
    momentum: float = 0.0

    @property
    def widths(self) -> list[int]:
        return [self.shape[0], *(int(width) for width in self.network.removeprefix("mlp:").split(",")), CLASSES]

    def built(self, dtype: torch.dtype) -> Network:
        torch.manual_seed(0)
        return build_network(self.network, self.shape, CLASSES).to(dtype=dtype)

    def weights(self, dtype: torch.dtype) -> list[Tensor]:
        """Those that all begin with."""
        return list(self.built(dtype).parameters.values())

    def examples(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        generator, count = torch.Generator().manual_seed(0), self.batch * self.steps
        x = torch.rand(count, *self.shape, generator=generator).to(dtype)
        return x, torch.randint(CLASSES, (count,), generator=generator)


class Trainer(NamedTuple):
    """One pass over the data, and the weights so far."""

    train: Run
    weights: Callable[[], Sequence[Tensor]]


def by_blockprop(task: Task, dtype: torch.dtype) -> Trainer:
    network = task.built(dtype)
    settings: dict[str, Any] = {"epochs": 10**6, "batch_size": task.batch, "rate": RATE, "momentum": task.momentum}
    epochs = fit(network, task.examples(dtype), cross_entropy(), **settings).epochs()
    return Trainer(lambda: next(epochs), lambda: list(network.parameters.values()))


def module(task: Task) -> nn.Module:
    """The same network of torch's own modules."""
    if task.network.startswith("stages:"):
        return Graph(task.built(torch.float32))
    if task.network == "lenet":
        return nn.Sequential(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, CLASSES)),
        )
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(task.widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def by_autograd(task: Task, dtype: torch.dtype, tuned: bool = False) -> Trainer:
    """With torch's modules, loss, autograd and optimizer, in the usual loop.   tuned: channels last in memory"""
    x, y = task.examples(dtype)
    model, loss = module(task).to(dtype), nn.CrossEntropyLoss()
    if tuned:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), task.weights(dtype), strict=True):
            parameter.copy_(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=task.momentum)

    def train() -> None:
        for rows in torch.randperm(len(x)).split(task.batch):
            optimizer.zero_grad()
            value = loss(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            value.item()

    return Trainer(train, lambda: list(model.parameters()))


def by_hand(task: Task, dtype: torch.dtype) -> Trainer:
    """What no engine of torch's calls can beat: those of one hidden layer, one after the other, batches ready."""
    x, y = task.examples(dtype)
    weight1, bias1, weight2, bias2 = weights = task.weights(dtype)
    one_nth = torch.tensor(1 / task.batch, dtype=dtype)
    minus = torch.full((task.batch, 1), -1 / task.batch, dtype=dtype)
    select = torch.ops.aten.threshold_backward.default

    @torch.inference_mode()
    def train() -> None:
        for rows, target in zip(x.split(task.batch), y.split(task.batch), strict=True):
            h = F.linear(rows, weight1, bias1).relu()
            log_p = F.linear(h, weight2, bias2).log_softmax(1)
            value = F.nll_loss(log_p, target)
            d = log_p.exp_().mul_(one_nth).scatter_add_(1, target.unsqueeze(1), minus)
            d_weight2, d_bias2, d_h = d.t().mm(h), d.sum(0), select(d.mm(weight2), h, 0)
            gradients = [d_h.t().mm(rows), d_h.sum(0), d_weight2, d_bias2]
            torch._foreach_add_(weights, gradients, alpha=-RATE)
            value.item()

    return Trainer(train, lambda: weights)


def by_scikit_learn(task: Task, dtype: torch.dtype) -> Trainer:
    from sklearn.neural_network import MLPClassifier

    x, y = (tensor.numpy() for tensor in task.examples(dtype))
    model = MLPClassifier(
        *(task.widths[1:-1],),
        solver="sgd",
        alpha=0.0,
        batch_size=task.batch,
        learning_rate_init=RATE,
        momentum=0.0,
        nesterovs_momentum=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first batch need not hold all classes, nor be a whole one
        model.partial_fit(x[: task.batch], y[: task.batch], classes=np.arange(CLASSES))
    starts = task.weights(dtype)
    for own, start in zip(model.coefs_, starts[::2], strict=True):
        own[...] = start.t().numpy()
    for own, start in zip(model.intercepts_, starts[1::2], strict=True):
        own[...] = start.numpy()

    def weights() -> list[Tensor]:
        pairs = zip(model.coefs_, model.intercepts_, strict=True)
        return [torch.from_numpy(each) for coefficients, bias in pairs for each in (coefficients.T, bias)]

    return Trainer(lambda: model.partial_fit(x, y), weights)


def by_jax(task: Task, dtype: torch.dtype) -> Trainer:
    """A pass is one compiled function: `jit` around `lax.scan`."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_enable_x64", dtype == torch.float64)
    x, y = (jnp.asarray(tensor.numpy()) for tensor in task.examples(dtype))

    def pooled(h: Any) -> Any:
        return lax.reduce_window(h, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def logits(weights: Any, h: Any) -> Any:
        layers = list(zip(weights[::2], weights[1::2], strict=True))
        for padding in (2, 0) if task.network == "lenet" else ():
            weight, bias = layers.pop(0)
            sides = [(padding, padding)] * 2
            h = pooled(jax.nn.relu(lax.conv_general_dilated(h, weight, (1, 1), sides) + bias[:, None, None]))
        h = h.reshape(len(h), -1)
        for weight, bias in layers[:-1]:
            h = jax.nn.relu(h @ weight.T + bias)
        weight, bias = layers[-1]
        return h @ weight.T + bias

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, x)), y[:, None], 1).mean()

    @partial(jax.jit, donate_argnums=0)
    def train(weights: Any, key: Any, x: Any, y: Any) -> Any:
        def step(weights: Any, rows: Any) -> Any:
            value, gradients = jax.value_and_grad(loss)(weights, x[rows], y[rows])
            return [weight - RATE * d for weight, d in zip(weights, gradients, strict=True)], value

        order = jax.random.permutation(key, len(x)).reshape(-1, task.batch)
        return lax.scan(step, weights, order)

    held = [jnp.asarray(tensor.numpy()) for tensor in task.weights(dtype)]
    keys = (jax.random.key(number) for number in itertools.count())

    def run() -> None:
        nonlocal held
        held, values = train(held, next(keys), x, y)
        values.block_until_ready()

    return Trainer(run, lambda: [torch.tensor(weight.tolist(), dtype=dtype) for weight in held])


def way(trainer: Callable[[Task, torch.dtype], Trainer], task: Task, package: str | None = None) -> Way:
    """Timed are passes over all batches; checked the weights after a pass over one."""

    def make(dtype: torch.dtype) -> Run:
        run = trainer(task, dtype).train
        run()  # which compiles, where there is something to compile
        return run

    def check(dtype: torch.dtype) -> list[Tensor]:
        made = trainer(task._replace(steps=1), dtype)
        before = [tensor.clone() for tensor in task.weights(dtype)]
        made.train()
        return [after.detach() - start for after, start in zip(made.weights(), before, strict=True)]

    return Way(make, check, package, gives="weights")


def row(task: Task, **wanted: float) -> Row:
    """Each product is computed three times: forward, for the weights, and for the input of all layers but the first."""

    def work() -> Work:
        network = task.built(torch.float32)
        products = [cost.multiply_adds or 0 for cost in costs(network, (task.batch, *task.shape))]
        first = next(count for count in products if count)
        weights = sum(tensor.nbytes for tensor in network.parameters.values())
        return Work(3 * sum(products) - first, 2 * weights + 4 * task.batch * math.prod(task.shape))

    ways = {"ours": way(by_blockprop, task), "autograd": way(by_autograd, task)}
    if task.network.startswith("mlp:"):
        ways["scikit-learn"] = way(by_scikit_learn, task)
        if len(task.widths) == 3:
            ways["bare torch calls"] = way(by_hand, task)
    if task.network.startswith("stages:"):
        ways["tuned autograd"] = way(partial(by_autograd, tuned=True), task)
    else:
        ways["JAX"] = way(by_jax, task, "jax")
    return Row(GROUP, ways, work, task.steps, wanted=wanted)


ROWS = {
    "64-32-10, batch 32": row(Task("mlp:32", (64,), 32, 100), autograd=10.0, JAX=1.0),
    "784-128-10, batch 64": row(Task("mlp:128", (784,), 64, 40), autograd=2.5, JAX=1.0),
    "784-512-512-10, batch 256": row(Task("mlp:512,512", (784,), 256, 12), autograd=2.6, JAX=1.0),
    "LeNet, batch 64": row(Task("lenet", (1, 28, 28), 64, 40), autograd=2.5),
    "shipped network, batch 64": row(
        Task("stages:48,96,144,192,224", (3, 32, 32), 64, 4, momentum=0.9), **{"autograd": 2.0, "tuned autograd": 2.0}
    ),
}
