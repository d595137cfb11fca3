"""Runs that are killed, terminated and interrupted at random moments: does each go on to the same bits?

Usage: python bench/trust.py kills     (about six minutes)
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from trust_outcome import Outcome

from tests.trust.forking import commands
from tests.trust.kills import JOBS, SIGNALS, kills

CASES = 400
SHOWN = 2000
"""Characters of what a command said that are printed of a fault."""


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """The kills after which something was broken, left, or another result than that of an undisturbed run."""
    faults = 0
    with commands() as started, tempfile.TemporaryDirectory() as folder:
        for number, kill in enumerate(kills(cases, seed, started, Path(folder))):
            faults += bool(kill.faults)
            for fault in kill.faults:
                print(f"seed {seed}, kill {number}: {kill.what}: {fault[-SHOWN:]}", flush=True)
    what = f"kills ({', '.join(SIGNALS)}) of {len(JOBS)} kinds of runs, and going on"
    yield Outcome(what, cases, faults, "another result, or files left" if faults else "the same bits each time")
