"""One question to a network, "how does this score change with the input?", asked as often as a method needs."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.engine.plan import RuleMap
from blockprop.engine.trace import Trace
from blockprop.errors import NotFiniteError, SettingError
from blockprop.preparing.job import COPIES, Job
from blockprop.preparing.resident import Expected
from blockprop.visualize.objectives.scores import channels, fixed, titles, values


class Answer(NamedTuple):
    """What a method finds.

    attribution: (n, c, h, w), signed.   map: (n, h, w), what to draw of it.
    residual: (n,), what the attribution lacks of the score's gain, where a method says it.
    """

    attribution: Tensor
    map: Tensor
    residual: Tensor | None = None

    def __repr__(self) -> str:
        return brief_repr(self)


class Question:
    """A network, what is looked at in it, and the rules by which the error goes back. Weights are never touched.

    progress: called after each gradient.   memory, copies: see `Job`.
    expecting: called before each with what it will take, where a memory was given.
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        progress: Callable[[], None] | None = None,
        memory: int | str | None = None,
        expecting: Callable[[Expected], None] | None = None,
        copies: int = COPIES,
    ):
        if len(network.inputs) != 1:
            raise SettingError(f"expected a network with one input, the picture; this one has {len(network.inputs)}")
        self.network, self.objective, self.progress, self.expecting = network, objective, progress, expecting
        self.input, self.job = network.inputs[0], Job(network, memory, copies)
        self.nodes = objective.nodes or network.outputs
        if not network.backward_plan(self.nodes, (self.input,)) and self.input not in self.nodes:
            raise SettingError(f"{objective!r} does not depend on the input {self.input!r}: nothing can influence it")

    def decide(self, x: Tensor) -> None:
        """Fix what is left to decide ("top") by this picture."""
        self.objective = fixed(self.objective, self.outputs(x))

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """What the objective reads, by a plain forward pass."""
        return self.network.prepare(self.nodes).values(x, keep=self.nodes)

    def values(self, x: Tensor) -> Tensor:
        """(n,): the score of each example."""
        return values(self.objective, self.outputs(x))

    def ask(self, x: Tensor, rules: RuleMap | None = None, inner: tuple[str, ...] = ()) -> "Asked":
        """One forward pass, no farther than needed; it is gone back from by `Asked.back`.

        rules: by which it is gone back from.   inner: nodes whose outputs or errors are wanted besides.
        """
        asked = x, (*self.nodes, *inner), rules, channels(self.objective)
        if self.expecting is not None and (taken := self.job.expected(*asked)) is not None:
            self.expecting(Expected(taken))
        lean, trace = self.job.forward(*asked)
        outputs = {name: trace[name] for name in self.nodes}
        self.objective = fixed(self.objective, outputs)
        return Asked(lean, trace, self.objective.evaluate(outputs)[1])

    def gradient(self, x: Tensor, rules: RuleMap | None = None) -> Tensor:
        """∂S/∂x, the error at the input alone."""
        d_x = self.ask(x, rules).back(self.input, rules)[self.input]
        if self.progress:
            self.progress()
        return d_x

    def require_influence(self, d: Tensor, place: str = "") -> None:
        """Raise if nothing came back for some example, or what came back is no number."""
        place = place or self.input
        sizes = d.abs().sum([*range(1, d.dim())])  # which tells both, but where it is too large a number
        if not sizes.isfinite().all() and not d.isfinite().all():
            raise NotFiniteError(f"the gradient of {self.objective!r} by {place!r} is not finite")
        silent = (sizes == 0).nonzero().flatten().tolist()
        if silent:
            some = ", ".join(str(i + 1) for i in silent)
            where = f" in picture {some} of {len(d)}" if len(d) > 1 else ""
            title = titles(self.objective, len(d))[silent[0]]
            raise SettingError(
                f"{place!r} cannot influence {title!r}{where}: the gradient is zero everywhere (as behind ReLUs that "
                "are all closed, or where the target does not depend on it); choose another target or picture"
            )


def largest(d: Tensor) -> Tensor:
    """(n, h, w): the largest size over the channels."""
    return d.contiguous().abs().amax(1)  # of whole planes, which is twice as fast


class Asked(NamedTuple):
    """A forward pass and the seeds of the score."""

    network: Network
    trace: Trace
    seeds: Seeds

    def __repr__(self) -> str:
        return brief_repr(self)

    def back(self, wrt: str | Iterable[str], rules: RuleMap | None = None, keep_trace: bool = False) -> Seeds:
        """∂S/∂(each of wrt) by name."""
        return self.network.backward(self.trace, self.seeds, wrt, rules, keep_trace)
