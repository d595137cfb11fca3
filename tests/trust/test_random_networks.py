"""Random networks of all blocks give what torch gives of copies in usual memory."""

from collections import Counter
from typing import Any

import pytest
from torch import Tensor

from blockprop import blocks
from tests.trust.layouts import usual
from tests.trust.random_networks import KINDS, faults

PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_random_networks_of_each_kind_of_block(part: int) -> None:
    """A network for each kind of block, which fails with its number: `faults(number, kind)` repeats it."""
    seen: Counter[str] = Counter()
    kinds = [*enumerate(KINDS)][part::PARTS]
    for number, kind in kinds:
        for fault in faults(number, kind, seen):
            raise AssertionError(f"faults({number}, {kind!r}): {fault}")
    assert {kind for _, kind in kinds} <= seen.keys()


def test_every_block_has_a_network() -> None:
    """Rows of tests/cases/ are what networks are made of; a block without one stands in none."""
    assert set(KINDS) == blocks.BLOCKS.keys()


def test_a_block_that_depends_on_the_order_of_memory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_order_of_memory(_block: blocks.Linear, saved: Any, d_y: Tensor) -> dict[str, Tensor]:
        read = d_y.as_strided(d_y.shape, usual(d_y).stride())
        return gradients(_block, saved, read)

    gradients = blocks.Linear.gradients
    monkeypatch.setattr(blocks.Linear, "gradients", in_order_of_memory)
    assert any("weight is off" in fault for number in range(20) for fault in faults(number, "Linear"))
