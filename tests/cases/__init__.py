"""The tables of blocks and objectives. A row buys all the common checks of test_blocks.py; a block without one fails.

A row says three things: how to make the block, what goes in, and what torch gives for the same. Rows stand in files of
the names of blockprop/blocks/, each with its `CASES`; all files are read.
"""

import importlib
import pkgutil

from tests.cases.case import Case
from tests.cases.objectives import OBJECTIVES, ObjectiveCase

BY_FILE: dict[str, list[Case]] = {
    file.name: getattr(importlib.import_module(f"{__name__}.{file.name}"), "CASES", [])
    for file in pkgutil.iter_modules(__path__)
}
CASES = [case for cases in BY_FILE.values() for case in cases]

__all__ = ["BY_FILE", "CASES", "OBJECTIVES", "Case", "ObjectiveCase"]
