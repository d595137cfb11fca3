"""Derivatives of random networks, written out, come to what the sweep finds."""

import pytest

from tests.trust.explanations import faults
from tests.trust.random_networks import KINDS

PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_of_many_kinds_of_blocks(part: int) -> None:
    """A network for every third kind, which fails with its number: `faults(number, kind)` repeats it."""
    for number, kind in [*enumerate(KINDS)][::3][part::PARTS]:
        for fault in faults(number, kind):
            raise AssertionError(f"faults({number}, {kind!r}): {fault}")
