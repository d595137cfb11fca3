"""Texts of the command line as values: shapes, blocks, sizes, weights."""

import ast
from typing import Any

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.errors import BlockpropError, SettingError


def shape_named(text: str) -> tuple[int, ...]:
    """ "2,3,8" as (2, 3, 8); SettingError for anything else."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise SettingError(f"expected a shape such as 2,3,8,8, came {text!r}")
    return found


def block_named(text: str) -> Block | None:
    """The block that "Conv2d(3, 8, 3)" describes; None if the text does not begin with a block's name.

    Only plain numbers, text and tuples are read as settings: nothing in the text is run.
    """
    name, bracket, _ = text.partition("(")
    if name not in blocks.BLOCKS:
        return None
    try:
        call: Any = ast.parse(text if bracket else f"{text}()", mode="eval").body
        settings = [ast.literal_eval(argument) for argument in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        return blocks.BLOCKS[name](*settings, **named)
    except BlockpropError:
        raise
    except (SyntaxError, ValueError, TypeError, AttributeError) as error:
        raise SettingError(f"{text!r} does not describe a block: {error}") from None
