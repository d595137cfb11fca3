"""Derivatives of random networks of all blocks, written out, come to what the sweep finds."""

import pytest

from tests.trust.explanations import faults
from tests.trust.random_networks import KINDS

PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_of_each_kind_of_block(part: int) -> None:
    """A network for each kind of block, which fails with its number: `faults(number, kind)` repeats it."""
    for number, kind in [*enumerate(KINDS)][part::PARTS]:
        for fault in faults(number, kind):
            raise AssertionError(f"faults({number}, {kind!r}): {fault}")
