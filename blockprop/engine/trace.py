"""Trace: what one forward pass leaves to look at and to go back from."""

from typing import Any

from torch import Tensor

from blockprop.engine.briefly import brief
from blockprop.errors import GraphError


class Trace:
    """One forward pass: `values` by name (network inputs and kept node outputs) and each node's `saved`.

    trace["fc1"] is the output of node fc1; trace.output the output of a network that has just one.
    """

    __slots__ = ("output_names", "saved", "values")

    def __init__(self, values: dict[str, Tensor], saved: dict[str, Any], output_names: tuple[str, ...]):
        self.values, self.saved, self.output_names = values, saved, output_names

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.values:
            raise GraphError(f"the trace holds no output of {name!r}; it holds {', '.join(self.values)}")
        return self.values[name]

    def __repr__(self) -> str:
        return f"Trace({brief(self.values)}, saved at {len(self.saved)} nodes)"

    @property
    def outputs(self) -> dict[str, Tensor]:
        """The network's outputs by name."""
        return {name: self[name] for name in self.output_names}

    @property
    def output(self) -> Tensor:
        """The output of a network that has exactly one."""
        return self[only(self.output_names)]


def only(names: tuple[str, ...]) -> str:
    """The one name of a network's outputs; GraphError if there are several."""
    if len(names) != 1:
        raise GraphError(f"the network has {len(names)} outputs ({', '.join(names)}); say which one by name")
    return names[0]
