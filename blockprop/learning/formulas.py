"""The formulas of a block, from its docstring: the one place where they stand."""

import inspect
import re
from dataclasses import dataclass

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.briefly import brief
from blockprop.errors import SettingError

DERIVATIVE = re.compile(r"(?<![\w∂])d_[\w₋]*[^\s=]*\s.*?=|(?<![\w∂])d_\w+(\[[^\]]*\])?\s*\+?=")
"""How a paragraph shows that it says how errors go back: "d_x = …"."""


@dataclass(frozen=True)
class Formulas:
    """What a docstring says: in a sentence, forward, and backward; "" for what it does not say."""

    sentence: str
    forward: str
    back: str


def formulas_of(block: Block | type[Block]) -> Formulas:
    """The formulas of a block or of its class. A class that refers to another for them gets the other's.

    Raises SettingError for what is no block.
    """
    kind = block if isinstance(block, type) else type(block)
    if not issubclass(kind, Block):
        raise SettingError(f"expected a block or its class, came {brief(block)}")
    found = _written(kind)
    other = None if found.forward and found.back else _referred(kind)
    if other is None:
        return found
    there = formulas_of(other)
    return Formulas(found.sentence, found.forward or there.forward, found.back or there.back)


def _paragraphs(kind: type[Block]) -> list[str]:
    return re.split(r"\n\s*\n", inspect.cleandoc(kind.__doc__ or ""))


def _written(kind: type[Block]) -> Formulas:
    first, *others = _paragraphs(kind)
    sentence, colon, formula = first.partition(":  ")
    backward = [part for part in others if DERIVATIVE.search(part)]
    before = others[: others.index(backward[0])] if backward else []
    forward = "\n".join([formula.rstrip(".,") if colon else "", *(part for part in before if "=" in part)])
    return Formulas(" ".join(sentence.split()), inspect.cleandoc(forward), "\n".join(backward))


def _referred(kind: type[Block]) -> type[Block] | None:
    """The block that a docstring names in its first paragraphs, as in "what Conv2d is, with w alone"."""
    for name in re.findall(r"\b[A-Z]\w+\b", " ".join(_paragraphs(kind)[:2])):
        if name in blocks.BLOCKS and blocks.BLOCKS[name] is not kind:
            return blocks.BLOCKS[name]
    return None
