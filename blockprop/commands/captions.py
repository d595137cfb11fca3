"""How sure a network is of what it is asked about in a picture, as a number and in words."""

from typing import NamedTuple

from torch import Tensor

from blockprop.engine.network import Network
from blockprop.visualize.judging import class_probabilities
from blockprop.visualize.objectives.scores import Target, fixed, score, values


class Strength(NamedTuple):
    """How strongly a network sees something: the probability, if that is a class; else the value of what it gives."""

    probability: float | None
    value: float

    @property
    def words(self) -> str:
        return f"{self.value:.4g}" if self.probability is None else f"{self.probability:.1%}"

    def titled(self, target: str) -> str:
        """What is looked at, and how strongly it is seen."""
        return f"{self.named(target)}, {self.words}"

    def named(self, target: str) -> str:
        """What is looked at; a number that stands for no class is that of an output."""
        is_number = target.replace(" + ", "").isdecimal()
        return f"output {target}" if self.probability is None and is_number else target

    @property
    def facts(self) -> dict[str, float | None]:
        return {"probability": self.probability, "value": self.value}


def strength(network: Network, picture: Tensor, target: Target, output: str | None) -> Strength:
    """How strongly the network sees the target in a picture."""
    objective = score(network, target, output)
    outputs = network.values(picture, keep=objective.nodes)
    value = float(values(fixed(objective, outputs), outputs).sum())
    return Strength(sureness(network, picture, target, output), value)


def sureness(network: Network, picture: Tensor, target: Target, output: str | None) -> float | None:
    """How sure the network is of the target in a picture; None for what is no class."""
    shares = class_probabilities(network, picture, target, output)
    return sum(shares) if shares else None


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
