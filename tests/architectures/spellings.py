"""Tiny modules, each for one way to write something: for precise tests of names and of what they become."""

from tests.architectures import (
    interface_spellings,
    joining_spellings,
    module_spellings,
    relu_spellings,
    shape_spellings,
)
from tests.architectures.architecture import Architecture

SPELLINGS: dict[str, Architecture] = (
    relu_spellings.SPELLINGS
    | joining_spellings.SPELLINGS
    | shape_spellings.SPELLINGS
    | module_spellings.SPELLINGS
    | interface_spellings.SPELLINGS
)
