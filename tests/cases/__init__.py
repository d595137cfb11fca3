"""The tables of blocks and objectives. A row buys all the common checks of test_blocks.py; a block without one fails.

A row says three things: how to make the block, what goes in, and what torch gives for the same.
"""

from tests.cases import (
    arranging,
    choosing,
    elementary,
    elementwise,
    folding,
    gathering,
    moving,
    painting,
    reducing,
    sampling,
    sequences,
    spatial,
    spatial3d,
)
from tests.cases.case import Case
from tests.cases.objectives import OBJECTIVES, ObjectiveCase

CASES: list[Case] = [
    *elementwise.CASES,
    *spatial.CASES,
    *arranging.CASES,
    *elementary.CASES,
    *choosing.CASES,
    *gathering.CASES,
    *reducing.CASES,
    *moving.CASES,
    *folding.CASES,
    *spatial3d.CASES,
    *sampling.CASES,
    *sequences.CASES,
    *painting.CASES,
]

__all__ = ["CASES", "OBJECTIVES", "Case", "ObjectiveCase"]
