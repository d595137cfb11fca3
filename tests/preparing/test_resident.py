"""The peak of resident memory: from now on where the system tells that, else what the highest one grew by."""

import sys
from pathlib import Path

import numpy as np
import pytest

from blockprop.preparing import resident
from blockprop.preparing.resident import ResidentPeak

SIZE = 2**26


def allocate(size: int) -> None:
    np.ones(size, np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells it")
def test_the_peak_is_from_now_on() -> None:
    allocate(2 * SIZE)
    peak = ResidentPeak()
    assert peak.is_exact
    allocate(SIZE)
    assert abs((peak.taken() or 0) - SIZE) < SIZE / 8
    assert (ResidentPeak().taken() or 0) < SIZE / 8


def test_without_that_it_is_what_the_highest_grew_by(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("resource")
    monkeypatch.setattr(resident, "PROCESS", tmp_path / "nowhere")
    allocate(SIZE)
    peak = ResidentPeak()
    assert not peak.is_exact
    assert peak.taken() is None
    highest = resident._highest()
    assert highest is not None
    allocate(highest)  # above all that was there before
    assert 0 < (peak.taken() or 0) <= 1.1 * highest


def test_where_nothing_tells_it_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resident, "PROCESS", tmp_path / "nowhere")
    monkeypatch.setattr(resident, "_highest", lambda: None)
    peak = ResidentPeak()
    allocate(SIZE)
    assert peak.taken() is None
