"""Ascent: the numbers that a picture is made from go up the gradient of an objective, all weights staying fixed.

    run = ascend(graph, canvas.start(1), score(network, "goose") - l2(), steps=256)
    for record in run:
        print(record.step, record.value, record.parts)
    run.picture()

The loop draws, prints and saves nothing but the state that it is asked for.
"""

import math
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.fitting import first_not_finite, fitting
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.engine.plan import plan_backward
from blockprop.errors import GraphError, NotFiniteError, SettingError, suggestion
from blockprop.preparing.job import Job
from blockprop.preparing.resident import Expected
from blockprop.rules.composites import Rules
from blockprop.rules.named import redirected
from blockprop.saving.files import StrPath
from blockprop.saving.fingerprints import described, described_objective, digest, fingerprint
from blockprop.saving.resumable import Keeping
from blockprop.saving.states import require_like, set_generator
from blockprop.visualize.pipeline import IMAGE, beyond_image, with_generators
from blockprop.visualize.running import PictureRun
from blockprop.visualize.updates import OPTIMIZERS, Optimizer, torch_update

COPIES = 7
"""Of the numbers, that a step makes besides: the gradient, what the optimizer keeps, and penalties of the picture."""
TRIES = 4
"""Steps after the redirected ones in which some gradient must come back by itself."""


def ascend(
    pipeline: Network,
    parameters: Tensor,
    objective: Objective,
    steps: int,
    rate: float = 0.05,
    optimizer: Optimizer = "adam",
    *,
    redirect_steps: int = 16,
    preview_every: int | None = None,
    seed: int = 0,
    state: StrPath | None = None,
    state_seconds: float = 60.0,
    resume: bool = False,
    memory: int | str | None = None,
) -> "Ascent":
    """Maximize an objective of a pipeline by its input; an iterator of PictureRecords, see `Ascent` for more.

    parameters θ: what the pipeline takes, (n, …), to start from. The tensor itself stays as it is.
    optimizer, with d = ∂objective/∂θ:
        "adam"         torch.optim.Adam, with its other settings as they are
        "plain"        θ ← θ + rate · d                          (Simonyan, Vedaldi and Zisserman 2013, section 2)
        "normalized"   θ ← θ + rate · d / |d|, for each example by itself
        or a function that makes an optimizer of torch.optim from [θ]; `rate` is then not used
    redirect_steps: in so many steps at the start, error passes through rectifiers that are closed for a whole example
        (`rules.redirected`).
    seed: of all random transforms; the same seed gives the same bits.
    state: a file written atomically every `state_seconds`, at Ctrl-C and at the end.
    resume: go on from the state if it exists; the picture becomes bit for bit that of an uninterrupted run.
    memory: what a step may take beside the weights, in bytes or as "500 MB"; to keep to it, some of what would be saved
        is computed again on the way back.
    Ctrl-C takes effect between two steps.
    Raises SettingError for settings that make no sense, too little memory, and an objective that the input cannot
    influence (its gradient is zero in all of the first steps), NotFiniteError if something overflows, FormatError for a
    state of another run.
    """
    if isinstance(optimizer, str) and optimizer not in OPTIMIZERS:
        raise SettingError(f"there is no optimizer {optimizer!r}{suggestion(optimizer, OPTIMIZERS)}")
    if steps < 1 or redirect_steps < 0 or not (0 < rate < math.inf):
        raise SettingError(
            f"expected steps of 1 or more, redirect_steps of 0 or more and a rate above 0; came {steps}, "
            f"{redirect_steps} and {rate}"
        )
    keep = Keeping(state, resume, state_seconds)
    return Ascent(
        pipeline, parameters, objective, steps, rate, optimizer, redirect_steps, seed, preview_every, keep, memory
    )


class Ascent(PictureRun):
    """A run of `ascend`.

    parameters: now.   best: those that had the highest value; it depends on what the transforms did in that step.
    """

    def __init__(
        self,
        pipeline: Network,
        parameters: Tensor,
        objective: Objective,
        steps: int,
        rate: float,
        optimizer: Optimizer,
        redirect_steps: int,
        seed: int,
        preview_every: int | None = None,
        keep: Keeping | None = None,
        memory: int | str | None = None,
    ):
        self.network, self.objective = with_generators(pipeline, seed), objective
        self.parameters = fitting(parameters.detach(), pipeline).clone()
        self.redirect_steps, self.seed, self.kind, self.rate = redirect_steps, seed, optimizer, rate
        self.nodes = objective.nodes or pipeline.outputs
        self.keep = tuple(dict.fromkeys(self.nodes))
        (self.input,) = pipeline.inputs
        if not plan_backward(pipeline.nodes, self.nodes, (self.input,), {}, {}):
            raise SettingError(f"{objective!r} does not depend on {self.input!r}: no picture can influence it")
        self.telling = beyond_image(pipeline, self.nodes)
        self.rules = _redirecting(self.network, self.nodes) if redirect_steps else None
        made = OPTIMIZERS[optimizer] if isinstance(optimizer, str) else torch_update(optimizer)
        self.optimizer = made(self.parameters, rate)
        self.best, self.begun = self.parameters.clone(), digest(self.parameters)
        self.influenced = torch.zeros(len(parameters), dtype=torch.bool)
        self.job = Job(self.network, memory, COPIES)
        self.expected = self._expected()  # which refuses too little before anything is made
        super().__init__(steps, preview_every, keep)

    def picture(self) -> Tensor:
        """What the numbers give now: (n, c, h, w)."""
        return self._painted(self.parameters)

    def best_picture(self) -> Tensor:
        """The picture that had the highest value so far."""
        return self._painted(self.best)

    @torch.no_grad()
    def _painted(self, parameters: Tensor) -> Tensor:
        return self.network.record((parameters,), (IMAGE,), False)[IMAGE]

    @torch.no_grad()
    def change(self) -> tuple[float, dict[str, float]]:
        """Forward, objective, backward, update; return the value and its parts."""
        wanted = (self.input,) if self.telling is None or bool(self.influenced.all()) else (self.input, self.telling)
        rules = self.rules if self.step < self.redirect_steps else None
        network, trace = self.job.forward(self.parameters, (*self.keep, *wanted[1:]), rules)
        parts, seeds = self.objective.parts({name: trace[name] for name in self.keep})
        value = math.fsum(parts.values())
        if not math.isfinite(value):
            raise NotFiniteError(f"step {self.step + 1}: the objective became {value}: {self._culprit()}")
        if value > self.best_value:
            self.best.copy_(self.parameters)
        d = network.backward(trace, seeds, wrt=wanted, rules=rules)
        self._check(d[self.input], d[wanted[-1]])
        self.optimizer.ascend(d[self.input])
        return value, parts

    def _expected(self) -> Expected | None:
        """What steps take at most, with the rules of the first ones or without."""
        keep = self.keep if self.telling is None else (*self.keep, self.telling)
        taken = [self.job.expected(self.parameters, keep, rules) for rules in (self.rules, None)]
        return Expected(max(filter(None, taken))) if any(taken) else None

    def _check(self, d: Tensor, telling: Tensor) -> None:
        """That the gradient is a number everywhere, and that each example had one that is not zero by now."""
        if not bool(d.isfinite().all()):
            raise NotFiniteError(f"step {self.step + 1}: the gradient of {self.objective!r} is not finite")
        if bool(self.influenced.all()):
            return
        made = self.step + 1
        if self.step >= self.redirect_steps or made == self.steps:  # before, what comes back may be owed to redirection
            self.influenced |= telling.flatten(1).any(1).cpu()
        if made < min(self.steps, self.redirect_steps + TRIES if self.redirect_steps else 1):
            return
        if not bool(self.influenced.all()):
            row = int(self.influenced.logical_not().nonzero()[0])
            where = f" in picture {row + 1} of {len(d)}" if len(d) > 1 else ""
            raise SettingError(
                f"no picture near this one can influence {self.objective!r}{where}: the gradient was zero everywhere "
                f"in all {made} steps so far; choose another target or start, or more redirect_steps"
            )

    def _culprit(self) -> str:
        if not bool(self.parameters.isfinite().all()):
            return "the last update overflowed; try a smaller rate"
        return first_not_finite(self.network, self.parameters, training=False, updated=False)

    @property
    def device(self) -> str:
        return self.parameters.device.type

    def identity(self) -> dict[str, Any]:
        return {
            "objective (what is looked at, or l2=…, total_variation=…, doubt=…, diversity=…)": described_objective(
                self.objective
            ),
            "nodes": list(self.nodes),
            "network, or what is around it (canvas=…, transforms=…)": fingerprint(self.network),
            "numbers (size=…, count=…)": [str(self.parameters.dtype), *self.parameters.shape],
            "optimizer": described(self.kind),
            "rate": self.rate,
            "redirect_steps": self.redirect_steps,
            "seed": self.seed,
            "start": self.begun,
        }

    def document(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters,
            "optimizer": self.optimizer.state(),
            "generators": {name: generator.get_state() for name, generator in self.network.generators.items()},
            "influenced": self.influenced,
            "best": self.best,
        }

    def restore_document(self, document: dict[str, Any]) -> None:
        require_like(document, self.document() | {"optimizer": None}, "state")
        self.parameters.copy_(document["parameters"])
        self.optimizer.restore(document["optimizer"])
        for name, generator in self.network.generators.items():
            set_generator(generator, document["generators"][name], f"generator of {name!r}")
        self.influenced = document["influenced"]
        self.best.copy_(document["best"])


def _redirecting(pipeline: Network, nodes: tuple[str, ...]) -> Rules | None:
    """The rules for the first steps; None for a network that rectifies nothing."""
    try:
        return redirected(pipeline, seeds=nodes, wrt=pipeline.inputs)
    except GraphError:
        return None
