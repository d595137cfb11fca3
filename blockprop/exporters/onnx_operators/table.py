"""The table of handlers: type of block → how it is written. A handler's file is one subject; add one there.

    @exports(blocks.LeakyReLU)
    def leaky_relu(writing, block, x): return writing.add("LeakyRelu", x, alpha=block.negative_slope)

A handler gets the Writing of the node, the block, and an Operand for each of the node's inputs. It returns the name of
the output, or a tuple of them. A block of your own is entered in the same way, from your own program.
"""

from collections.abc import Callable
from typing import Any

from blockprop.engine.block import Block

BlockHandler = Callable[..., Any]

HANDLERS: dict[type[Block], BlockHandler] = {}
"""By the block's own type: a subclass may compute something else, so it needs its own."""

REASONS: dict[type[Block], str] = {}
"""Why some blocks cannot have a handler. A block may lack both; it is then refused as one without an ONNX form."""


def exports(*kinds: type[Block]) -> Callable[[BlockHandler], BlockHandler]:
    """Enter a handler for these types of block."""

    def enter(handler: BlockHandler) -> BlockHandler:
        for kind in kinds:
            assert kind not in HANDLERS, f"{kind.__name__} has two handlers"
            HANDLERS[kind] = handler
        return handler

    return enter


def without_form(reason: str, *kinds: type[Block]) -> None:
    """Say why these types of block cannot be written."""
    REASONS.update(dict.fromkeys(kinds, reason))
