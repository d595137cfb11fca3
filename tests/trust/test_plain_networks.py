"""Plain networks at random learn by the native kernel as formulas in float64 say."""

import pytest

from blockprop.native.library import usable_sets
from tests.trust.plain_networks import differences


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("steps", [1, 5])
def test_the_kernel_learns_as_the_formulas_say(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    for name in usable_sets():
        monkeypatch.setenv("BLOCKPROP_NATIVE", name)
        for difference in differences(0, range(40), steps):
            assert not difference.is_fault, (name, difference)
