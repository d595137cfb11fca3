"""All blocks by name. To add one: its class in the file of its subject, its line here, its row in tests/cases.py."""

from blockprop.block import Block
from blockprop.blocks.linear import Embedding, Linear

_ALL: list[type[Block]] = [
    Embedding,
    Linear,
]

BLOCKS: dict[str, type[Block]] = {block.__name__: block for block in _ALL}
"""Every shipped block by the name of its class; saved networks are read with this table."""

__all__ = [
    "BLOCKS",
    "Embedding",
    "Linear",
]
