"""A training run of several processes: each makes the same steps together with the others; one keeps the checkpoint."""

import json
from typing import Any

from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import NotFiniteError
from blockprop.saving.files import short
from blockprop.saving.fingerprints import described
from blockprop.saving.resumable import Keeping
from blockprop.saving.states import differences
from blockprop.training.evaluation import Evaluation, evaluate
from blockprop.training.ranks import RankError, Ranks
from blockprop.training.run import Record, TrainingRun
from blockprop.training.settings import Pair, Settings
from blockprop.training.shared_step import SharedStep
from blockprop.version import __version__


class SharedRun(TrainingRun):
    """What `fit` returns where several processes train together: in all of them the same records.

    They meet at the first step, and refuse to begin if they would not train the same. Ctrl-C and SIGTERM, in any of
    them, stop all after the same step. Only the first process writes the checkpoint.
    """

    stepper: SharedStep
    _is_compared = True

    def __init__(
        self,
        ranks: Ranks,
        network: Network,
        data: tuple[Tensor, Tensor],
        objective: Objective,
        optimizer: Any,
        settings: Settings,
        keep: Keeping | None = None,
    ):
        self.ranks = ranks
        super().__init__(network, data, objective, optimizer, settings, keep)
        self.native.reason = f"{ranks.count} processes train together"
        self._keeps = self.path is not None
        if ranks.rank:
            self.path = None

    def _step_for(self, network: Network, objective: Objective, optimizer: Any, settings: Settings) -> SharedStep:
        return SharedStep(network, objective, optimizer, settings, self.ranks)

    def _validate(self, data: Pair) -> Evaluation:
        return evaluate(self.network, data, self.objective, ranks=self.ranks)

    def begin(self) -> None:
        self.ranks.is_stopping = self.stepper.wants_to_stop = lambda: self._interruption.is_waiting
        self.ranks.open(self.stepper.device)
        self._require_agreement()
        self.stepper.share()
        super().begin()

    def _require_agreement(self) -> None:
        """RankError in all processes if some of them would train something else than the first."""
        own = {"version of blockprop": __version__, **self.identity(), "epochs": self.settings.epochs}
        own |= {"weights to begin with": described(self.network.state), "steps made already": self.step}
        own["file of a checkpoint"] = self._keeps
        told = [json.loads(text) for text in self.ranks.texts(json.dumps(own, default=str), self.stepper.device)]
        for rank, theirs in enumerate(told):
            for name in {**told[0], **theirs}:
                for place, other, first in differences(name, theirs.get(name), told[0].get(name)):
                    raise self.ranks.error(
                        f"the processes do not train the same: {place} is {short(other)} in rank {rank}, and "
                        f"{short(first)} in rank 0 (distributed=False trains in each by itself)"
                    )

    def advance(self) -> Record:
        try:
            record = super().advance()
        except RankError as error:
            self.path = None  # the weights may be half updated
            if error.is_of_stopping:
                self._interruption.held = False
                self._interruption.release()
            raise
        except NotFiniteError as error:
            error.is_told_here = self.ranks.rank == 0
            raise
        self._interruption.held = not (self.stepper.is_to_stop or self.is_over)  # till all have heard of it
        if self.stepper.is_to_stop:
            self._interruption.release()
            raise KeyboardInterrupt
        return record

    @property
    def device(self) -> str:
        return f"{self.stepper.device.type}, {self.ranks.count} processes"

    def _shut(self) -> None:
        super()._shut()
        self.stepper.end_sharing()
        self.ranks.close()
