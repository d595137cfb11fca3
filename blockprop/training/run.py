"""One training run: a step, the end of an epoch, and the state that a checkpoint holds."""

import math
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
from blockprop.saving.resumable import Keeping, Resumable
from blockprop.training.augmentation import augmented
from blockprop.training.averaging import Averages, copy_into
from blockprop.training.batches import Batches
from blockprop.training.descent import GradientDescent, clipped
from blockprop.training.evaluation import evaluate, first_bad_row
from blockprop.training.settings import Settings
from blockprop.training.threads import OneThread, is_small


class Record(NamedTuple):
    """One training step. Those that end an epoch hold the validation, if there is any.

    step, epoch: from 1 on; steps: how many there will be at most.
    value: the objective on this step's batch, before the update.   rate: the learning rate of the update.
    seconds: since the first step began.
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


class TrainingRun(Resumable[Record]):
    """What `fit` returns: an iterator of records, one a step.

    step: how many steps were made.   epoch, position: of the next step, from 1 and from 0 on.
    """

    def __init__(
        self,
        network: Network,
        data: tuple[Tensor, Tensor],
        objective: Objective,
        optimizer: Any,
        settings: Settings,
        keep: Keeping | None = None,
    ):
        self.network, self.objective, self.optimizer, self.settings = network, objective, optimizer, settings
        self.scheduler = settings.made_scheduler(optimizer)
        self.averages = None if settings.average is None else Averages(network.state, settings.average)
        self.stopping = Stopping(settings.patience)
        self.batches = Batches(*data, settings.batch_size, settings.seed)
        self.epoch, self.position, self.steps = 1, 0, settings.epochs * len(self.batches.sizes)
        self.value_sum = 0.0
        self.best: dict[str, Tensor] | None = None
        self._generator_states: dict[str, Tensor] = {}

        self.parameters, self.trained = network.parameters, settings.trainable(network, optimizer)
        self.nodes = objective.nodes or network.outputs
        blocks = [(node.name, node.block) for node in network.nodes]
        self.remembering = [(name, block) for name, block in blocks if type(block).remember is not Block.remember]
        small = is_small(self.parameters.values(), settings.batch_size)
        self.one_thread = OneThread(small)
        first, there = data[0][:1], fitting(data[0][:1], network)
        self.moves = (there.dtype, there.device) != (first.dtype, first.device)
        self.is_descent = isinstance(optimizer, GradientDescent)
        # Inference mode saves a tenth of a small step; torch's own optimizers want to keep what they make in it.
        self.mode: Any = torch.inference_mode() if self.is_descent else torch.no_grad()
        self.immediate = settings.immediate
        if settings.immediate is None:
            self.immediate = self.is_descent and settings.clip is None and not small
        self._try_out(data[0])
        super().__init__(keep)

    def _try_out(self, x: Tensor) -> None:
        """What would fail in the first step or after the first epoch fails now."""
        if self.settings.augment:
            augmented(x[:2], self.settings.augment, self.settings.seed, 0)
        if self.settings.validation is not None:
            x, y = self.settings.validation
            evaluate(self.network, (x[:2], y[:2]), self.objective)

    @property
    def is_over(self) -> bool:
        return self.epoch > self.settings.epochs or self.stopping.over

    @property
    def is_milestone(self) -> bool:
        return self.position == 0

    def begin(self) -> None:
        self.network.seed(self.settings.seed)
        for name, generator in self.network.generators.items():
            if name in self._generator_states:
                generator.set_state(self._generator_states[name])

    def advance(self) -> Record:
        epoch, rate = self.epoch, float(self.optimizer.param_groups[0]["lr"])
        with self.one_thread:
            value = self._step()
        ends_epoch = self.position == len(self.batches.sizes)
        validation = self._end_epoch() if ends_epoch else (None, None)
        return Record(self.step, self.steps, epoch, value, rate, self.seconds, *validation, ends_epoch)

    def _step(self) -> float:
        """Forward, objective, backward, update on the next batch; return the objective's value."""
        x, y = self.batches.get(self.epoch, self.position)
        with self.mode:
            if self.settings.augment:
                x = augmented(x, self.settings.augment, self.settings.seed, self.step)
            if self.moves:
                x = fitting(x, self.network)
                y = y.to(x.device)
            trace = self.network.record((x,), self.nodes, True)
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
        self.value_sum += value * self.batches.sizes[self.position]
        self.position += 1
        if self.scheduler and self.settings.schedule == "step":
            self.scheduler.step()
        return value

    def _descend(self, trace: Trace, seeds: dict[str, Tensor]) -> None:
        sweep, name = self.network.sweep(trace, seeds, self.trained), None
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
        if self.settings.clip is not None:
            gradients = clipped(gradients, self.settings.clip)
        self._update(parameters, gradients)

    def _update(self, parameters: list[Tensor], gradients: list[Tensor]) -> None:
        if self.is_descent:
            self.optimizer.update(parameters, gradients)
            return
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        for parameter in parameters:
            parameter.grad = None

    def _culprit(self, x: Tensor) -> str:
        row = first_bad_row(x) if x.is_floating_point() else None
        if row is not None:
            number = self.batches.number(self.epoch, self.position, row)
            return f"row {number} of the data (counted from 0) is not finite"
        return first_not_finite(self.network, x, training=True, updated=self.step > 0)

    def _end_epoch(self) -> tuple[float | None, float | None]:
        """Validate and step the scheduler; return the validation's value and accuracy."""
        value, accuracy = None, None
        mean, self.value_sum = self.value_sum / len(self.batches), 0.0
        if self.settings.validation is not None:
            with self.averages.applied() if self.averages is not None else nullcontext():
                value, accuracy = evaluate(self.network, self.settings.validation, self.objective)
                if self.stopping.update(value) and self.stopping.patience is not None:
                    self.best = {name: tensor.clone() for name, tensor in self.network.state.items()}
        if self.scheduler and self.settings.schedule == "epoch":
            plateau = isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self.scheduler.step(mean if value is None else value) if plateau else self.scheduler.step()
        self.epoch, self.position = self.epoch + 1, 0
        return value, accuracy

    def end(self) -> None:
        self._require_finite_parameters()
        self.leave()
        copy_into(self.network.state, self.best or {})

    def leave(self) -> None:
        if self.averages is not None:
            self.averages.apply()

    def _require_finite_parameters(self) -> None:
        if not all(torch.isfinite(parameter).all() for parameter in self.parameters.values()):
            where = first_not_finite(self.network, self.batches.x[:1], training=False)
            raise NotFiniteError(f"step {self.step}: {where}")

    def identity(self) -> dict[str, Any]:
        return {
            "examples": len(self.batches),
            "batch_size": self.settings.batch_size,
            "seed": self.settings.seed,
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__,
            "average": self.settings.average,
            "tensors": {name: [str(tensor.dtype), *tensor.shape] for name, tensor in self.network.state.items()},
        }

    def difference(self, name: str, theirs: Any, ours: Any) -> str:
        if name == "tensors":
            return "the tensors in the file are those of another network"
        return super().difference(name, theirs, ours)

    def state(self) -> dict[str, Any]:
        self._require_finite_parameters()
        return {
            "network": self.network.state,
            "best": self.best,
            "averages": None if self.averages is None else self.averages.values,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "generators": {name: generator.get_state() for name, generator in self.network.generators.items()},
            "progress": [self.step, self.epoch, self.position, self.value_sum, self.seconds],
            "stopping": [self.stopping.best, self.stopping.since],
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        copy_into(self.network.state, state["network"])
        self.best, self._generator_states = state["best"], state["generators"]
        self.step, self.epoch, self.position, self.value_sum, self.seconds = state["progress"]
        self.stopping.best, self.stopping.since = state["stopping"]
        if self.averages is not None:
            self.averages.steps = self.step
            copy_into(self.averages.values, state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            ours, theirs = getattr(self.scheduler, "total_steps", None), state["scheduler"].get("total_steps")
            if ours != theirs:
                raise FormatError(f"{self.path}: its schedule is made for {theirs} steps, here it is {ours}")
            self.scheduler.load_state_dict(state["scheduler"])
