"""One training run: a step, the end of an epoch, and the state that a checkpoint holds."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.fitting import first_not_finite, fitting
from blockprop.engine.means import BatchMean
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import NotFiniteError
from blockprop.saving.fingerprints import described
from blockprop.saving.resumable import Keeping, Resumable
from blockprop.saving.states import set_generator
from blockprop.training.augmentation import augmented
from blockprop.training.averaging import Averages, copy_into
from blockprop.training.batches import Batches
from blockprop.training.computed import say_what_was_computed
from blockprop.training.evaluation import Evaluation, evaluate, first_bad_row
from blockprop.training.identity import described_schedule, difference_in_words, identity_of
from blockprop.training.native import NativeSteps
from blockprop.training.restoring import require_fitting
from blockprop.training.settings import Pair, Settings
from blockprop.training.step import TrainingStep
from blockprop.training.stopping import Stopping
from blockprop.training.threads import OneThread, is_small


class Record(NamedTuple):
    """One training step. Those that end an epoch hold the validation, if there is any.

    step, epoch: from 1 on; steps: how many there will be at most.
    value: the objective on this step's batch, before the update.   rate: the learning rate of the update.
    seconds: since the first step began.
    training_value: at an epoch's end, the objective on all that it took, each batch before its own update: what one
        batch of them all would give, so that a small batch counts less.
    native: whether a kernel made the step, and not the blocks; `TrainingRun.by` says why not.
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
    native: bool = False


class TrainingRun(Resumable[Record]):
    """What `fit` returns: an iterator of records, one a step.

    step: how many steps were made.   epoch, position: of the next step, from 1 and from 0 on.
    """

    _is_watched = True
    """Whether somebody sees every step, and the network after it; otherwise several may be made at once."""
    _is_compared = False
    """Whether what it is will be asked even without a checkpoint."""

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
        self.stepper = self._step_for(network, objective, optimizer, settings)
        self._identity: dict[str, Any] = {}
        if self._is_compared or (keep is not None and keep.path is not None):  # otherwise nobody asks what it is
            self._identity = identity_of(network, data, objective, optimizer, settings, self.stepper.trained)
        say_what_was_computed(network, self.stepper.trained)
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
        moves = (there.dtype, there.device) != (first.dtype, first.device)
        self.changes = bool(moves or settings.augment or settings.body is not None)
        seen = there if settings.body is None else settings.body(there)
        self.native = NativeSteps(self.stepper, seen, data[1][:1], max(self.batches.sizes))
        self._try_out(data[0])
        super().__init__(keep)

    def _step_for(self, network: Network, objective: Objective, optimizer: Any, settings: Settings) -> TrainingStep:
        return TrainingStep(network, objective, optimizer, settings)

    def _validate(self, data: Pair) -> Evaluation:
        return evaluate(self.network, data, self.objective)

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

    @property
    def by(self) -> str:
        """What makes the steps, in words: "native kernel: avx512"; or "blocks: …", or "blocks with native kernels
        (avx512): …", and why no kernel can make them as a whole.
        """
        return self.native.by

    def epochs(self) -> Iterator[Record]:
        """The records that end an epoch: who takes them alone lets a kernel make many steps in one call.

        Not so if an observer looks at each.
        """
        while True:
            self._is_watched = False
            try:
                record = next((record for record in self if record.ends_epoch), None)
            finally:
                self._is_watched = True
            if record is None:
                return
            yield record

    def finish(self) -> Record | None:
        record = None
        for record in self.epochs():  # noqa: B007
            pass
        return record

    def advance(self) -> Record:
        epoch, rate = self.epoch, float(self.optimizer.param_groups[0]["lr"])
        several = [] if self._is_watched or self._observers else self._steps()
        value, native = (several[-1], True) if several else self._step()
        ends_epoch = self.position == len(self.batches.sizes)
        training, validation, accuracy = self._end_epoch() if ends_epoch else (None, None, None)
        return Record(
            self.step, self.steps, epoch, value, rate, self.seconds, validation, accuracy, ends_epoch, training, native
        )

    def _steps(self) -> list[float]:
        """Learn from the next batches at once, if nothing is to be done between them; return the values on them."""
        settings = self.settings
        if self.changes or self.averages is not None or (self.scheduler and settings.schedule == "step"):
            return []
        values, sizes = self.native.some_steps(self.batches, self.epoch, self.position, self.save_seconds)
        self.mean.add_counted(values, sizes)
        self.step += len(values)
        self.position += len(values)
        return values

    def _step(self) -> tuple[float, bool]:
        """Learn from the next batch; return the objective's value on it, before, and whether a kernel did it."""
        x, y = self._batch()
        natively = self.native.steps(x, None, y, [x.shape[0]])
        values = natively or self._learn(x, y)
        self.mean.add(values, y)
        if self.averages is not None:
            self.averages.update()
        self.step += 1
        self.position += 1
        if self.scheduler and self.settings.schedule == "step":
            self.scheduler.step()
        return self.stepper.total(values), bool(natively)

    def _batch(self) -> tuple[Tensor, Tensor]:
        """The next examples, as the network takes them."""
        x, y = self.batches.get(self.epoch, self.position)
        if not self.changes:
            return x, y
        with self.stepper.mode:
            if self.settings.augment:
                x = augmented(x, self.settings.augment, self.settings.seed, self.step)
            if self.settings.body is not None:
                x = self.settings.body(fitting(x, self.network))
            x = fitting(x, self.network)
            return x, y.to(x.device)

    def _learn(self, x: Tensor, y: Tensor) -> list[float]:
        """One step by the blocks; each term's value before."""
        with self.stepper.mode, self.one_thread:
            values = self.stepper.learn(x, y)
            value = self.stepper.total(values)
            if not math.isfinite(value):
                raise NotFiniteError(f"step {self.step + 1}: the objective became {value}: {self._culprit(x)}")
        return values

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
                value, accuracy = self._validate(self.settings.validation)
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
        kind = next(iter(self.network.parameters.values())).device.type
        if not self.native.reason:
            return f"{kind}, {self.by}"
        return kind if self.stepper.set is None else f"{kind}, {self.stepper.by}"

    def identity(self) -> dict[str, Any]:
        return self._identity

    def difference(self, name: str, theirs: Any, ours: Any) -> str:
        return difference_in_words(name, theirs, ours, self.optimizer, super().difference)

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
