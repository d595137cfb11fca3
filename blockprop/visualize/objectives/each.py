"""Several objectives at once: each of a batch's pictures for a target of its own."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.errors import SettingError, ShapeError
from blockprop.visualize.objectives.score_kinds import ClassScore
from blockprop.visualize.objectives.scores import Target, score


def each(network: Network, targets: Sequence[Target], output: str | None = None) -> "Each":
    """One target for each picture of a batch; with more pictures than targets, for each run of them. See `score`."""
    if isinstance(targets, str) or not targets:
        raise SettingError(f"expected several targets, one for each picture, came {targets!r}")
    return Each([score(network, target, output) for target in targets])


class Each(Objective):
    """The sum over objectives that look at one run of the examples each:  L = Σ_i L_i(y of run i).

    Its seeds are theirs, each at its run. The batch is a multiple of the number of objectives.
    """

    adds_up = True

    def __init__(self, objectives: Sequence[Objective]):
        self.objectives = tuple(objectives)
        self.nodes = tuple(dict.fromkeys(name for objective in self.objectives for name in objective.nodes))

    @property
    def class_numbers(self) -> list[int | None]:
        """The class whose score each of them is; None for what is not the score of one class."""
        return [objective.number if isinstance(objective, ClassScore) else None for objective in self.objectives]

    @property
    def scores_node(self) -> str | None:
        """The node that gives the scores, if some of them is a class's."""
        pairs = zip(self.objectives, self.class_numbers, strict=True)
        return next((objective.nodes[0] for objective, number in pairs if number is not None), None)

    def evaluate(self, outputs: Mapping[str, Tensor], target: object = None) -> tuple[Tensor, Seeds]:
        runs, total = len(self.objectives), torch.zeros(())
        seeds: Seeds = {}
        for i, objective in enumerate(self.objectives):
            rows = {name: _run(outputs[name], i, runs) for name in objective.nodes or outputs}
            value, run_seeds = objective.evaluate(rows, target)
            total = value if i == 0 else total + value
            for name, seed in run_seeds.items():
                if name not in seeds:
                    seeds[name] = torch.zeros_like(outputs[name])
                _run(seeds[name], i, runs).add_(seed)
        return total, seeds

    def __repr__(self) -> str:
        return f"each({', '.join(map(repr, self.objectives))})"


def _run(y: Tensor, i: int, runs: int) -> Tensor:
    """The i-th of so many equal runs of examples; a view."""
    if len(y) % runs or not len(y):
        raise ShapeError(f"{runs} targets need as many pictures, or a multiple of that, came {len(y)}")
    return y[i * len(y) // runs : (i + 1) * len(y) // runs]
