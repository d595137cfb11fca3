"""Random kills and full disks: a few of those that `bench/trust.py kills disks` tries."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trust.disks import full_disks
from tests.trust.forking import Commands, commands
from tests.trust.kills import kills

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks with everything loaded")
JOBS = ("train, averaged", "dream, film")


@pytest.fixture(scope="module")
def started() -> Iterator[Commands]:
    with commands() as process:
        yield process


def test_killed_at_random_moments_a_run_goes_on_to_the_same_bits(started: Commands, tmp_path: Path) -> None:
    found = list(kills(4, 1, started, tmp_path, JOBS))
    assert len(found) == 4
    assert [kill for kill in found if kill.faults] == []


def test_where_files_may_not_grow_nothing_is_harmed(started: Commands, tmp_path: Path) -> None:
    found = list(full_disks(2, 0, started, tmp_path, False, JOBS))
    assert [case for case in found if case.faults] == []
    assert any(case.met for case in found)
