"""Random networks on kernels in C, in each set of instructions that this machine has, give what their blocks give."""

from collections import Counter

import pytest

from blockprop.native.library import usable_sets
from blockprop.native.program import Kind
from blockprop.native.sources import SWITCH
from blockprop.preparing.native.kernels import kernels
from blockprop.preparing.native.writing import OpWriter
from tests.trust.native_networks import faults

pytestmark = pytest.mark.skipif(kernels() is None, reason="no native kernels here")
CASES = 40


@pytest.mark.parametrize("name", usable_sets())
def test_random_networks_on_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is told by its number: `faults(number)` repeats it."""
    monkeypatch.setenv(SWITCH, name)
    seen: Counter[str] = Counter()
    for number in range(CASES):
        assert [*faults(number, seen)] == []
    assert {"FixedConv2d", "FixedMaxPool2d", "FixedReLU", "Concat", "Add", "RectifiedSum"} <= seen.keys()


def test_a_gate_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def ungated(self: OpWriter, kind: Kind, *views: object, **more: object) -> object:
        if kind == Kind.CONVOLVE:
            more["gate"] = None
        return write(self, kind, *views, **more)  # type: ignore[arg-type]

    write = OpWriter.write
    monkeypatch.setattr(OpWriter, "write", ungated)
    assert any("errors of" in fault for number in range(CASES) for fault in faults(number))
