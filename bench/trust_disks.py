"""Commands whose disk is full, or becomes full: one sentence, whole files, and with room the usual result?

Usage: python bench/trust.py disks     (about three minutes; who may not mount small disks limits the size of files)
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from trust_outcome import Outcome

from tests.trust.disks import JOBS, can_mount, full_disks
from tests.trust.forking import commands

CASES = 120
SHOWN = 2000
"""Characters of what a command said that are printed of a fault."""


def tried(cases: int, seed: int) -> Iterator[Outcome]:
    """The full disks at which something was broken, lost, or not said."""
    faults = met = 0
    with commands() as started, tempfile.TemporaryDirectory() as folder:
        mounts = can_mount(Path(folder) / "disk")
        for number, case in enumerate(full_disks(cases, seed, started, Path(folder), mounts)):
            faults, met = faults + bool(case.faults), met + case.met
            for fault in case.faults:
                print(f"seed {seed}, disk {number}: {case.what}: {fault[-SHOWN:]}", flush=True)
    kind = "full disks" if mounts else "files that may not grow"
    what = f"{kind} under {len(JOBS)} kinds of commands"
    worst = "something broken, lost or not said" if faults else "one sentence"
    yield Outcome(what, cases, faults, f"{worst}; {met} were noticed")
