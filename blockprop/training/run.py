"""One training run: its state, and its parts: a step, the end of an epoch, a checkpoint."""

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.fitting import first_not_finite, fitting
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.trace import Trace
from blockprop.errors import FormatError, GraphError, NotFiniteError
from blockprop.saving.checkpoints import write_checkpoint
from blockprop.saving.interruption import Interruption
from blockprop.training.augmentation import Augmentation, augmented
from blockprop.training.averaging import Averages, copy_into
from blockprop.training.descent import GradientDescent
from blockprop.training.evaluation import evaluate, first_bad_row


class Record(NamedTuple):
    """One training step. Those that end an epoch hold the validation, if there is any.

    step, epoch: from 1 on; steps: how many there will be at most.
    value: the objective on this step's batch, before the update.   rate: the learning rate of the update.
    seconds: since `fit` was called.
    """

    step: int
    steps: int
    epoch: int
    value: float
    rate: float
    seconds: float
    validation_value: float | None = None
    validation_accuracy: float | None = None
    ends_epoch: bool = False


LARGE_DATA = 500_000
"""Numbers in x above which an epoch's batches are fetched one by one and not copied into their order beforehand."""
SMALL_STEP = 2_000_000
"""Multiplications in a step of a dense network below which a second thread costs more than it brings."""


@dataclass
class Stopping:
    """Early stopping: the best validation value so far, and for how many epochs it has not got better."""

    patience: int | None
    best: float = math.inf
    since: int = 0

    def update(self, value: float) -> bool:
        """Take in one epoch's value; True if it is the best so far."""
        better = value < self.best
        self.best, self.since = (value, 0) if better else (self.best, self.since + 1)
        return better

    @property
    def over(self) -> bool:
        """True if it is time to stop."""
        return self.patience is not None and self.since >= self.patience


class Run:
    """The state of one training run and its parts: a step, the end of an epoch, a checkpoint."""

    scheduler: Any = None
    schedule = "epoch"
    clip: float | None = None
    immediate = False
    augment: Sequence[Augmentation] = ()
    averages: Averages | None = None
    validation: tuple[Tensor, Tensor] | None = None
    stopping: Stopping
    wanted: tuple[str, ...] = ()
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_seconds = 60.0

    def __init__(
        self,
        network: Network,
        data: tuple[Tensor, Tensor],
        objective: Objective,
        optimizer: Any,
        limits: tuple[int, int, int],
    ):
        self.network, (self.x, self.y), self.objective, self.optimizer = network, data, objective, optimizer
        self.epochs, self.batch_size, self.seed = limits
        self.parameters = network.parameters
        self.keep = objective.nodes or network.outputs
        blocks = [(node.name, node.block) for node in network.nodes]
        self.remembering = [(name, block) for name, block in blocks if type(block).remember is not Block.remember]
        self.sizes = batch_sizes(len(self.x), self.batch_size)
        self.step, self.epoch, self.position, self.steps = 0, 1, 0, self.epochs * len(self.sizes)
        self.batches: list[tuple[Tensor, Tensor]] = []
        self.order_epoch = 0
        self.large = self.x.numel() > LARGE_DATA
        self.small = _is_small(self.parameters.values(), self.batch_size)
        self.own, self.group = isinstance(optimizer, GradientDescent), optimizer.param_groups[0]
        first, there = self.x[:1], fitting(self.x[:1], network)
        self.moves = (there.dtype, there.device) != (first.dtype, first.device)
        # Inference mode saves a tenth of a small step; torch's own optimizers want to keep what they make in it.
        self.mode: Any = torch.inference_mode() if self.own else torch.no_grad()
        self.value_sum, self.seconds_before = 0.0, 0.0
        self.best: dict[str, Tensor] | None = None
        self.generator_states: dict[str, Tensor] = {}

    def records(self) -> Iterator[Record]:
        """The loop. Ctrl-C takes effect between two steps; whenever the run is left, the checkpoint holds its state."""
        started = saved = time.perf_counter()
        self.network.seed(self.seed)
        for name, generator in self.network.generators.items():
            if name in self.generator_states:
                generator.set_state(self.generator_states[name])
        with Interruption() as interruption:
            try:
                while self.epoch <= self.epochs and not self.stopping.over:
                    interruption.busy = True
                    epoch, rate, threads = self.epoch, float(self.group["lr"]), torch.get_num_threads()
                    try:
                        if self.small and threads > 1:
                            torch.set_num_threads(1)
                        value = self._step()
                    finally:
                        if self.small and threads > 1:
                            torch.set_num_threads(threads)
                    ended = self.position == len(self.sizes)
                    validation = self._end_epoch() if ended else (None, None)
                    now = time.perf_counter()
                    seconds = self.seconds_before + now - started
                    if self.checkpoint and (ended or now - saved >= self.checkpoint_seconds):
                        self._save(seconds)
                        saved = now
                    interruption.release()
                    yield Record(self.step, self.steps, epoch, value, rate, seconds, *validation, ended)
            except (KeyboardInterrupt, GeneratorExit):
                if self.checkpoint and self.step:
                    self._save(self.seconds_before + time.perf_counter() - started)
                if self.averages is not None and self.step:
                    self.averages.apply()
                raise
        self._require_finite_parameters()
        self._restore_best()

    def _step(self) -> float:
        """Forward, objective, backward, update on the next batch; return the objective's value."""
        if self.order_epoch != self.epoch:
            self._shuffle()
        with self.mode:
            x, y = self.batches[self.position]
            if self.large:
                x = self.x.index_select(0, x)
            if self.augment:
                x = augmented(x, self.augment, self.seed, self.step)
            if self.moves:
                x = fitting(x, self.network)
                y = y.to(x.device)
            trace = self.network.record((x,), self.keep, True)
            objective, seeds = self.objective.evaluate(trace.values, y)
            value = float(objective)
            if not math.isfinite(value):
                raise NotFiniteError(f"step {self.step + 1}: the objective became {value}: {self._culprit(x)}")
            for name, block in self.remembering:
                if name in trace.saved:
                    block.remember(trace.saved[name])
            self._descend(trace, seeds)
            if self.averages is not None:
                self.averages.update()
        self.step += 1
        self.value_sum += value * self.sizes[self.position]
        self.position += 1
        if self.scheduler and self.schedule == "step":
            self.scheduler.step()
        return value

    @torch.no_grad()
    def _shuffle(self) -> None:
        """Put this epoch's order into `batches`, views of tensors that are made once: of x, or of its row numbers."""
        order = shuffled(len(self.x), self.seed, self.epoch).to(self.x.device)
        if not self.batches:
            self.rows = torch.empty_like(order) if self.large else torch.empty_like(self.x)
            self.targets = torch.empty_like(self.y)
            parts = self.rows.split(self.sizes), self.targets.split(self.sizes)
            self.batches = list(zip(*parts, strict=True))
        if self.large:
            self.rows.copy_(order)
        else:
            torch.index_select(self.x, 0, order, out=self.rows)
        torch.index_select(self.y, 0, order, out=self.targets)
        self.order_epoch = self.epoch

    def _descend(self, trace: Trace, seeds: dict[str, Tensor]) -> None:
        sweep, name = self.network.sweep(trace, seeds, self.wanted), None
        parameters, gradients = [], []
        for name, gradient in sweep:
            if self.immediate:
                self._update([self.parameters[name]], [gradient])
                del gradient  # before the next block's is computed
            else:
                parameters.append(self.parameters[name])
                gradients.append(gradient)
        if name is None:
            raise GraphError(f"{self.objective!r} depends on none of the parameters that are to be trained")
        if self.immediate:
            return
        if self.clip is not None:
            gradients = clipped(gradients, self.clip)
        self._update(parameters, gradients)

    def _culprit(self, x: Tensor) -> str:
        row = first_bad_row(x) if x.is_floating_point() else None
        if row is not None:
            order = shuffled(len(self.x), self.seed, self.epoch)
            return f"row {int(order.split(self.sizes)[self.position][row])} of the data (counted from 0) is not finite"
        return first_not_finite(self.network, x, training=True, updated=self.step > 0)

    def _update(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        if self.own:
            self.optimizer.update(parameters, gradients)
            return
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    def _end_epoch(self) -> tuple[float | None, float | None]:
        """Validate and step the scheduler; return the validation's value and accuracy."""
        value, accuracy = None, None
        mean, self.value_sum = self.value_sum / len(self.x), 0.0
        if self.validation is not None:
            with self.averages.applied() if self.averages is not None else nullcontext():
                value, accuracy = evaluate(self.network, self.validation, self.objective)
                if self.stopping.update(value) and self.stopping.patience is not None:
                    self.best = {name: tensor.clone() for name, tensor in self.network.state.items()}
        if self.scheduler and self.schedule == "epoch":
            plateau = isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self.scheduler.step(mean if value is None else value) if plateau else self.scheduler.step()
        self.epoch, self.position = self.epoch + 1, 0
        return value, accuracy

    def _restore_best(self) -> None:
        if self.averages is not None:
            self.averages.apply()
        copy_into(self.network.state, self.best or {})

    def _require_finite_parameters(self) -> None:
        if not all(torch.isfinite(parameter).all() for parameter in self.parameters.values()):
            raise NotFiniteError(f"step {self.step}: {first_not_finite(self.network, self.x[:1], training=False)}")

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def _identity(self) -> dict[str, Any]:
        shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in self.network.state.items()}
        return {
            "examples": len(self.x),
            "batch_size": self.batch_size,
            "seed": self.seed,
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__,
            "average": None if self.averages is None else self.averages.decay,
            "tensors": shapes,
        }

    def _save(self, seconds: float) -> None:
        assert self.checkpoint is not None
        self._require_finite_parameters()
        state = {
            "identity": self._identity(),
            "network": self.network.state,
            "best": self.best,
            "averages": None if self.averages is None else self.averages.values,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "generators": {name: generator.get_state() for name, generator in self.network.generators.items()},
            "progress": [self.step, self.epoch, self.position, self.value_sum, seconds],
            "stopping": [self.stopping.best, self.stopping.since],
        }
        write_checkpoint(self.checkpoint, state)

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state; FormatError if it is of another run."""
        for name, mine in self._identity().items():
            theirs = state.get("identity", {}).get(name)
            if mine != theirs:
                told = f"{theirs}, here it is {mine}" if name != "tensors" else "those of another network"
                raise FormatError(f"{self.checkpoint}: cannot resume, the checkpoint's {name} are {told}")
        copy_into(self.network.state, state["network"])
        self.generator_states = state["generators"]
        self.best = state["best"]
        if self.averages is not None:
            self.averages.steps = state["progress"][0]
            copy_into(self.averages.values, state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.group = self.optimizer.param_groups[0]
        if self.scheduler:
            mine, theirs = getattr(self.scheduler, "total_steps", None), state["scheduler"].get("total_steps")
            if mine != theirs:
                raise FormatError(f"{self.checkpoint}: its schedule is made for {theirs} steps, here it is {mine}")
            self.scheduler.load_state_dict(state["scheduler"])
        self.step, self.epoch, self.position, self.value_sum, self.seconds_before = state["progress"]
        self.stopping.best, self.stopping.since = state["stopping"]


def _is_small(parameters: Iterable[Tensor], batch_size: int) -> bool:
    sizes = [parameter.numel() if parameter.dim() <= 2 else SMALL_STEP for parameter in parameters]
    return batch_size * sum(sizes) < SMALL_STEP


def batch_sizes(examples: int, batch_size: int) -> list[int]:
    """The sizes of an epoch's batches. A single left-over example joins the batch before: its statistics are none."""
    whole, rest = divmod(examples, batch_size)
    sizes = [batch_size] * whole + [rest] * (rest > 0)
    joined = len(sizes) > 1 and sizes[-1] == 1 < batch_size
    return [*sizes[:-2], sizes[-2] + 1] if joined else sizes


def shuffled(count: int, seed: int, epoch: int) -> Tensor:
    """The order of the examples in an epoch, a function of seed and epoch alone."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def clipped(gradients: list[Tensor], largest: float) -> list[Tensor]:
    """All gradients scaled by one factor so that their common norm is at most `largest` (Pascanu et al. 2013)."""
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    return list(torch._foreach_mul(gradients, (largest / (norm + 1e-6)).clamp(max=1.0)))
