"""`explain`: the derivative of one weight, bias, input or inner unit, written out by the chain rule."""

from typing import Any

import torch
from torch import Tensor

from blockprop.engine.asked import whole
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy
from blockprop.errors import SettingError
from blockprop.learning.both_passes import BothPasses
from blockprop.learning.by_blocks import ByBlocks
from blockprop.learning.dense import dense
from blockprop.learning.derivation import Derivation
from blockprop.learning.elements import element_named
from blockprop.learning.expressions import SIGNIFICANT
from blockprop.learning.scalars import Scalars

BY = ("numbers", "blocks")
MOST_DIGITS = 17
"""Which tell a number of 64 bits from every other."""


@torch.no_grad()
def explain(
    network: Network,
    *inputs: Tensor,
    of: str,
    objective: Objective | None = None,
    target: Any = None,
    by: str | None = None,
    digits: int = SIGNIFICANT,
) -> Derivation:
    """Write out ∂L/∂(one element) for these inputs, from the loss down, with all numbers; in float64, in evaluation.

    of: a weight, bias, input or inner unit with its place from 0 on: "fc1.weight[0,1]", "x[0,2]", "relu1[0,1]". The
        number of the example may be left out if there is one.
    objective: by default the cross-entropy of the network's only output.   target: as the objective takes it.
    by: "numbers" lists every path of a small dense network; "blocks" goes block by block, each with the formula of its
        docstring, for any network. By default numbers where they can be had.
    digits: significant ones of each number, 1 to 17.
    The sum is compared with what the backward sweep finds: `Derivation.difference`.
    Raises SettingError for an element that does not exist, and for numbers that cannot be had.
    """
    if by is not None and by not in BY:
        raise SettingError(f"by must be one of {', '.join(BY)}, not {by!r}")
    digits = whole("digits", digits, 1, MOST_DIGITS)
    recording = BothPasses(network, inputs, cross_entropy() if objective is None else objective, target)
    network, trace = recording.network, recording.trace
    element = element_named(of, network, trace)
    tensor = recording.d.get(element.name)
    swept = 0.0 if tensor is None else float(tensor[element.index]) + 0.0  # not −0
    small = dense(network, trace) if by != "blocks" and network.outputs == tuple(recording.seeds) else None
    if by == "numbers" and small is None:
        raise SettingError(
            'by="numbers" takes one example in a chain of small Linear blocks, each at one place, and activations; '
            'by="blocks" takes any network'
        )
    if small is not None:
        scalars = Scalars(small, recording.objective, recording.target, element, digits)
        return Derivation(str(element), scalars.symbol.text(), scalars.value, swept, scalars.sections())
    blocks = ByBlocks(recording, element, digits)
    sections = blocks.sections()
    return Derivation(str(element), "", blocks.value, swept, sections)
