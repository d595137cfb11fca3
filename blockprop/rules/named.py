"""Named rules that replace error propagation at rectifiers for one backward pass, with a report of where they do.

    rules = guided(network)
    d = network.backward(trace, seeds, wrt="inputs", rules=rules)
    print(rules.coverage)                       guided: replaced 26 of 26 nodes that rectify or gate

A rule is written as what it does at one node, and found node by node: each call of a ReLU is a node, whichever object
it calls and however it was written.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from blockprop.blocks import ReLU
from blockprop.engine.block import Block
from blockprop.rules.composites import Composite, NamedRule
from blockprop.rules.rectifiers import Rectifier
from blockprop.rules.scopes import RECTIFIERS

NAMED_RULES: dict[str, Composite] = {}
"""All rules by name."""


def at_rectifiers(propagate: Callable[[Rectifier, Block, Any, Tensor], tuple[Tensor | None, ...]]) -> Composite:
    """The rule that a function states for one rectifier, for all those of a network; from now on in NAMED_RULES."""
    name = propagate.__name__
    propagate.__qualname__ = f"{name}.propagate"  # where it is found from now on, by multiprocessing, say
    NAMED_RULES[name] = Composite(name, [(RECTIFIERS, NamedRule(name, propagate.__doc__ or "", propagate))])
    return NAMED_RULES[name]


@at_rectifiers
def guided(_place: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    """Guided back-propagation: only what is positive passes back through a rectifier, and only where it was open.

    d_x = d_y where the block's own d_x is d_y and d_y > 0, else 0     (for ReLU: where x > 0 and d_y > 0)

    At ReLU in all its spellings, and with the same formula at Clamp(0, high), such as ReLU6.
    Called as guided(network, *, seeds=None, wrt=None, strict=False):
    seeds, wrt: where the error comes from and goes to; nodes that are not between them do not count. By default all do.
    strict: raise if anything that rectifies or gates is not replaced, or is of unknown kind.
    Raises GraphError if nothing would be replaced, or not all with strict.
    Source: Springenberg et al. 2014, section 3.4.
    """
    if isinstance(block, ReLU):
        (d_x,) = block.propagate(saved, d_y)
        return (d_x.clamp_(min=0),)  # its own new tensor
    return block.propagate(saved, d_y.clamp(min=0))


@at_rectifiers
def deconvnet(place: Rectifier, _block: Block, _saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    """The deconvnet: a rectifier rectifies what comes back, and does not ask whether it was open.

    d_x = d_y where d_y > 0, else 0

    Nodes, arguments and errors as for `guided`. (Max pooling sends the error to its maxima, as in the paper.)
    Source: Zeiler and Fergus 2013, section 2.1.
    """
    return place.only(d_y.clamp(min=0))


@at_rectifiers
def redirected(place: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    """Let the error through dead rectifiers: where nothing passes for an example, what would open them does.

    d_x = the block's own, but for an example for which that is 0 everywhere:
    d_x = d_y where the block is closed and x + d_x comes nearer to open, else 0
          (ReLU: where d_y > 0;  Clamp(0, high): where x ≤ 0 and d_y > 0, or x ≥ high and d_y < 0)

    For the first steps of an ascent (x ← x + rate · d_x), which would not move at all where all rectifiers are closed.
    Nodes, arguments and errors as for `guided`.
    Source: lucid's redirected ReLU (Olah et al. 2017), which is for a descent and has the opposite sign.
    """
    d_x = block.propagate(saved, d_y)[place.index]
    assert d_x is not None
    is_open = d_x.flatten(1).any(1) if d_x.dim() > 1 else d_x != 0
    if not d_x.is_meta and bool(is_open.all()):
        return place.only(d_x)
    helpful = d_y.clamp(min=0)
    if place.high is not None:  # Clamp and LeakyReLU's kin save x
        helpful = helpful.where(saved <= 0, d_y.clamp(max=0).where(saved >= place.high, 0.0))
    return place.only(d_x.where(is_open.view(-1, *[1] * (d_x.dim() - 1)), helpful))
