"""Runs that are killed at random moments go on to the same bits: a few of those that `bench/trust.py kills` tries."""

import sys
from pathlib import Path

import pytest

from tests.trust.forking import commands
from tests.trust.kills import kills

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks with everything loaded")
JOBS = ("train, averaged", "dream, film")


def test_killed_at_random_moments_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    with commands() as started:
        found = list(kills(4, 1, started, tmp_path, JOBS))
    assert len(found) == 4
    assert [kill for kill in found if kill.faults] == []
