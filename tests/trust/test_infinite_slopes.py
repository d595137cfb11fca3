"""Infinities that come back through a block stay infinite, and reach nothing that they have no part in."""

from pathlib import Path

import pytest

from tests.cases import CASES, Case
from tests.trust.infinite_slopes import OTHERWISE, departures

PAGE = Path(__file__).parents[2] / "docs" / "numerics.md"


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=str)
def test_an_infinite_slope_gives_what_torch_gives_or_better(case: Case) -> None:
    found = [*departures(case)]
    if str(case) in OTHERWISE:
        assert found, f"{case} has become as torch: strike it out of OTHERWISE, and out of {PAGE.name}"
    else:
        assert not found, "\n".join(found[:6])


def test_what_is_otherwise_is_stated() -> None:
    assert len(OTHERWISE) <= 2
    text = PAGE.read_text()
    assert all(f"`{title.partition(',')[0]}`" in text for title in OTHERWISE)
