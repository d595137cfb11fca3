"""How sure a network is of what it is asked about in a picture, as a number and in words."""

from torch import Tensor

from blockprop.engine.network import Network
from blockprop.visualize.judging import class_probabilities
from blockprop.visualize.objectives.scores import Target


def sureness(network: Network, picture: Tensor, target: Target, output: str | None) -> float | None:
    """How sure the network is of the target in a picture; None for what is no class."""
    shares = class_probabilities(network, picture, target, output)
    return sum(shares) if shares else None


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def titled(target: str, share: float | None) -> str:
    """What is looked at, and how sure the network is of it."""
    return target if share is None else f"{target}, {share:.1%}"
