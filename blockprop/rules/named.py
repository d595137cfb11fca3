"""Named rules that replace error propagation at rectifiers for one backward pass, with a report of where they do.

    rules = guided(network)
    d = network.backward(trace, seeds, wrt="inputs", rules=rules)
    print(rules.coverage)                       guided: replaced 26 of 26 nodes that rectify or gate

A rule is found node by node: each call of a ReLU is a node, whichever object it calls and however it was written.
"""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from blockprop.blocks import ReLU
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.rules.coverage import Rules, _rules
from blockprop.rules.rectifiers import Rectifier

# The rules ------------------------------------------------------------------------------------------------------------


def guided(
    network: Network, *, seeds: Iterable[str] | None = None, wrt: Iterable[str] | None = None, strict: bool = False
) -> Rules:
    """Guided back-propagation: only what is positive passes back through a rectifier, and only where it was open.

    d_x = d_y where the block's own d_x is d_y and d_y > 0, else 0     (for ReLU: where x > 0 and d_y > 0)

    At ReLU in all its spellings, and with the same formula at Clamp(0, high), such as ReLU6.
    seeds, wrt: where the error comes from and goes to; nodes that are not between them do not count. By default all do.
    strict: raise if anything that rectifies or gates is not replaced, or is of unknown kind.
    Raises GraphError if nothing would be replaced, or not all with strict.
    Source: Springenberg et al. 2014, section 3.4.
    """
    return _rules("guided", _guided, network, seeds, wrt, strict)


def deconvnet(
    network: Network, *, seeds: Iterable[str] | None = None, wrt: Iterable[str] | None = None, strict: bool = False
) -> Rules:
    """The deconvnet: a rectifier rectifies what comes back, and does not ask whether it was open.

    d_x = d_y where d_y > 0, else 0

    Nodes, arguments and errors as for `guided`. (Max pooling sends the error to its maxima, as in the paper.)
    Source: Zeiler and Fergus 2013, section 2.1.
    """
    return _rules("deconvnet", _deconvnet, network, seeds, wrt, strict)


def redirected(
    network: Network, *, seeds: Iterable[str] | None = None, wrt: Iterable[str] | None = None, strict: bool = False
) -> Rules:
    """Let the error through dead rectifiers: where nothing passes for an example, what would open them does.

    d_x = the block's own, but for an example for which that is 0 everywhere:
    d_x = d_y where the block is closed and x + d_x comes nearer to open, else 0
          (ReLU: where d_y > 0;  Clamp(0, high): where x ≤ 0 and d_y > 0, or x ≥ high and d_y < 0)

    For the first steps of an ascent (x ← x + rate · d_x), which would not move at all where all rectifiers are closed.
    Nodes, arguments and errors as for `guided`.
    Source: lucid's redirected ReLU (Olah et al. 2017), which is for a descent and has the opposite sign.
    """
    return _rules("redirected", _redirected, network, seeds, wrt, strict)


NAMED_RULES: dict[str, Callable[..., Rules]] = {rule.__name__: rule for rule in (guided, deconvnet, redirected)}
"""All rules by name."""


def _guided(_at: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    if isinstance(block, ReLU):
        (d_x,) = block.propagate(saved, d_y)
        return (d_x.clamp_(min=0),)  # its own new tensor
    return block.propagate(saved, d_y.clamp(min=0))


def _deconvnet(at: Rectifier, _block: Block, _saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    return _only(at, d_y.clamp(min=0))


def _redirected(at: Rectifier, block: Block, saved: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
    own = block.propagate(saved, d_y)[at.index]
    assert own is not None
    open_ = own.flatten(1).any(1) if own.dim() > 1 else own != 0
    if bool(open_.all()):
        return _only(at, own)
    helpful = d_y.clamp(min=0)
    if at.high is not None:  # Clamp and LeakyReLU's kin save x
        helpful = helpful.where(saved <= 0, d_y.clamp(max=0).where(saved >= at.high, 0.0))
    return _only(at, own.where(open_.view(-1, *[1] * (own.dim() - 1)), helpful))


def _only(at: Rectifier, d_x: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(d_x if i == at.index else None for i in range(at.count))
