"""One training run: a step, the end of an epoch, and the state that a checkpoint holds."""

import math
import warnings
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.fitting import first_not_finite, fitting
from blockprop.engine.means import BatchMean
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import BlockpropWarning, NotFiniteError
from blockprop.saving.fingerprints import described
from blockprop.saving.resumable import Keeping, Resumable
from blockprop.saving.states import set_generator
from blockprop.training.augmentation import augmented
from blockprop.training.averaging import Averages, copy_into
from blockprop.training.batches import Batches
from blockprop.training.descent import GradientDescent
from blockprop.training.evaluation import evaluate, first_bad_row
from blockprop.training.identity import DATA, described_schedule, identity_of, other_schedule
from blockprop.training.restoring import require_fitting
from blockprop.training.settings import Settings
from blockprop.training.step import TrainingStep
from blockprop.training.threads import OneThread, is_small


class Record(NamedTuple):
    """One training step. Those that end an epoch hold the validation, if there is any.

    step, epoch: from 1 on; steps: how many there will be at most.
    value: the objective on this step's batch, before the update.   rate: the learning rate of the update.
    seconds: since the first step began.
    training_value: at an epoch's end, the objective on all that it took, each batch before its own update: what one
        batch of them all would give, so that a small batch counts less.
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
    training_value: float | None = None


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


def _say_what_was_computed(network: Network, trained: Collection[str]) -> None:
    """The module that the network came from trains other weights than these: weight_norm's g and v, for instance."""
    computed = sorted(set(network.meta.get("computed", ())) & set(trained))
    if computed:
        some = ", ".join(computed[:5]) + ", …" * (len(computed) > 5)
        warnings.warn(
            f"{some}: computed from other weights by the module that was imported; here they are trained themselves, "
            "which goes another way than training the module",
            BlockpropWarning,
            stacklevel=3,
        )
    titles = network.meta.get("parameter_names", {})
    for weight in network.meta.get("untied", ()):
        apart = [name for name in trained if titles.get(name, name) == weight]
        if len(apart) > 1:
            warnings.warn(
                f"{', '.join(apart)}: one weight, {weight}, in the model that was imported; here trained apart",
                BlockpropWarning,
                stacklevel=3,
            )


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
        self.stepper = TrainingStep(network, objective, optimizer, settings)
        self._identity: dict[str, Any] = {}
        if keep is not None and keep.path is not None:  # otherwise nobody asks what it is
            self._identity = identity_of(network, data, objective, optimizer, settings, self.stepper.trained)
        _say_what_was_computed(network, self.stepper.trained)
        self.scheduler = settings.made_scheduler(optimizer)
        if self._identity:
            self._identity["schedule"] = described_schedule(self.scheduler, settings.schedule)
        self.averages = None if settings.average is None else Averages(network.state, settings.average)
        self.stopping = Stopping(settings.patience)
        self.batches = Batches(*data, settings.batch_size * settings.accumulate, settings.seed)
        self.epoch, self.position, self.steps = 1, 0, settings.epochs * len(self.batches.sizes)
        self.mean = BatchMean(objective)
        self.best: dict[str, Tensor] | None = None
        self._generator_states: dict[str, Tensor] = {}
        self._start = described(network.state) if self._identity else None

        self.one_thread = OneThread(is_small(network.parameters.values(), settings.batch_size))
        first, there = data[0][:1], fitting(data[0][:1], network)
        self.moves = (there.dtype, there.device) != (first.dtype, first.device)
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
                set_generator(generator, self._generator_states[name], f"generator of {name!r}")

    def advance(self) -> Record:
        epoch, rate = self.epoch, float(self.optimizer.param_groups[0]["lr"])
        with self.one_thread:
            value = self._step()
        ends_epoch = self.position == len(self.batches.sizes)
        training, validation, accuracy = self._end_epoch() if ends_epoch else (None, None, None)
        return Record(
            self.step, self.steps, epoch, value, rate, self.seconds, validation, accuracy, ends_epoch, training
        )

    def _step(self) -> float:
        """Learn from the next batch; return the objective's value on it, before."""
        x, y = self.batches.get(self.epoch, self.position)
        with self.stepper.mode:
            if self.settings.augment:
                x = augmented(x, self.settings.augment, self.settings.seed, self.step)
            if self.settings.body is not None:
                x = self.settings.body(fitting(x, self.network))
            if self.moves:
                x = fitting(x, self.network)
                y = y.to(x.device)
            values = self.stepper.learn(x, y)
            value = self.stepper.total(values)
            if not math.isfinite(value):
                raise NotFiniteError(f"step {self.step + 1}: the objective became {value}: {self._culprit(x)}")
            self.mean.add(values, y)
            if self.averages is not None:
                self.averages.update()
        self.step += 1
        self.position += 1
        if self.scheduler and self.settings.schedule == "step":
            self.scheduler.step()
        return value

    def _culprit(self, x: Tensor) -> str:
        row = first_bad_row(x) if x.is_floating_point() else None
        if row is not None:
            number = self.batches.number(self.epoch, self.position, row)
            return f"row {number + 1} of the data is not finite"
        return first_not_finite(self.network, x, training=True, updated=self.step > 0)

    def _end_epoch(self) -> tuple[float, float | None, float | None]:
        """Validate and step the scheduler; return the objective on the epoch, the validation's value and accuracy."""
        value, accuracy = None, None
        training, self.mean = self.mean.value, BatchMean(self.objective)
        if self.settings.validation is not None:
            with self.averages.applied() if self.averages is not None else nullcontext():
                value, accuracy = evaluate(self.network, self.settings.validation, self.objective)
                if self.stopping.update(value) and self.stopping.patience is not None:
                    self.best = {name: tensor.clone() for name, tensor in self.network.state.items()}
        if self.scheduler and self.settings.schedule == "epoch":
            plateau = isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            self.scheduler.step(training if value is None else value) if plateau else self.scheduler.step()
        self.epoch, self.position = self.epoch + 1, 0
        return training, value, accuracy

    def end(self) -> None:
        self._require_finite_parameters()
        self.leave()
        copy_into(self.network.state, self.best or {})

    def leave(self) -> None:
        if self.averages is not None:
            self.averages.apply()

    def _require_finite_parameters(self) -> None:
        if not all(torch.isfinite(parameter).all() for parameter in self.network.parameters.values()):
            where = first_not_finite(self.network, self.batches.x[:1], training=False)
            raise NotFiniteError(f"step {self.step}: {where}")

    @property
    def device(self) -> str:
        return next(iter(self.network.parameters.values())).device.type

    def identity(self) -> dict[str, Any]:
        return self._identity

    def difference(self, name: str, theirs: Any, ours: Any) -> str:
        part, _, place = name.rpartition(" of the ")
        if place == "tensors":
            return "the tensors in the file are those of another network"
        if place == "augment":
            return "the file's run changes its pictures in another way (augment=…)"
        if place == "crop":
            before, now = (crop or "center" for crop in (theirs, ours))
            return f"the file's run learns from crop={before!r} of photographs, this one from crop={now!r}"
        if place in DATA and theirs and ours:
            return f"the {place} are not those of the file; give the same data=…"
        if place == "schedule":
            return other_schedule(part, theirs, ours, super().difference)
        if name == "patience":
            with_it, without = ("the file's run", "this one") if theirs else ("this one", "the file's run")
            return f"{with_it} stops early (patience=…), {without} does not"
        if name == "lr of the optimizer" and isinstance(self.optimizer, GradientDescent):
            name = "rate of the optimizer"
        said = super().difference(name, theirs, ours)
        return f"{said}; give the same objective=…" if place == "objective" else said

    def progress(self, state: dict[str, Any]) -> dict[str, tuple[int, int]]:
        _, epoch, position, _ = state["progress"]
        progress = {"epochs": (epoch - 1 + (position > 0), self.settings.epochs)}
        if self.settings.patience is not None:
            progress["epochs of patience"] = (state["stopping"][1], self.settings.patience)
        return progress

    def state(self) -> dict[str, Any]:
        self._require_finite_parameters()
        return {
            "network": self.network.state,
            "best": self.best,
            "averages": None if self.averages is None else self.averages.values,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "generators": {name: generator.get_state() for name, generator in self.network.generators.items()},
            "start": self._start,
            "progress": [self.step, self.epoch, self.position, self.seconds],
            "mean": [self.mean.sums, self.mean.weights],
            "stopping": [self.stopping.best, self.stopping.since],
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        if self._start not in (state["start"], described(state["network"])):
            self.warn("the network had other weights to begin with; those of the file take their place")
        require_fitting(state, self.state(), self.optimizer, len(self.batches.sizes))
        copy_into(self.network.state, state["network"])
        self.best, self._generator_states = state["best"], state["generators"]
        self.step, self.epoch, self.position, self.seconds = state["progress"]
        self.mean.sums, self.mean.weights = state["mean"]
        self.stopping.best, self.stopping.since = state["stopping"]
        if self.averages is not None:
            self.averages.steps = self.step
            copy_into(self.averages.values, state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler:
            self.scheduler.load_state_dict(state["scheduler"])
