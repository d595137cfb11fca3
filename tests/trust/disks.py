"""Commands whose disk is full, from the beginning or from a random moment on: one sentence says so, what was there
stays whole, and what can be done without it is done; once there is room, what goes on gives what it always gives.
"""

import os
import random
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.trust.forking import Commands, Ended
from tests.trust.kills import JOBS as RUNS
from tests.trust.kills import PICTURE, Undisturbed, broken, content_of, differences, going_on, prepare, undisturbed

PAGES = {
    "saliency": ["saliency", "photo.png", *PICTURE, "--raw", "made.npy", "--report", "page.html"],
    "segment": ["segment", "photo.png", *PICTURE, "--mask", "mask.png"],
    "predict": ["predict", "small.safetensors", "photo.png", "--out", "rows.csv"],
    "diagram": ["diagram", "small.safetensors", "--out", "graph.svg"],
    "export": ["export", "small.safetensors", "--shape", "3,24,24", "--out", "made.onnx"],
    "maximize, a page": [*RUNS["maximize"], "--report", "page.html"],
    "train, a page": [*RUNS["train"], "--report", "page"],
}
JOBS = RUNS | PAGES
DISPENSABLE = r"log\.csv|[\w.]+\.checkpoint|[\w.]+\.state[\d.]*|[\w.]+\.preview\.png"
"""What a run can do without."""
SIZE = 8 * 2**20
PAGE = 4096
"""Bytes that a small disk hands out at a time."""
REASONS = r"No space left on device|File too large"


class Case(NamedTuple):
    """One full disk, and what was found."""

    what: str
    faults: list[str]
    met: bool
    """Whether the command met it at all."""


class Disk:
    """A disk of a few megabytes of its own, which can be filled and freed again."""

    def __init__(self, folder: Path):
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self, rest: int) -> None:
        """Leave so many bytes, or as many as there are."""
        there = os.statvfs(self.folder)
        free = there.f_bavail * there.f_frsize
        with suppress(OSError), self._ballast.open("wb") as file:
            for _ in range(max(0, free - rest) // PAGE):
                file.write(bytes(PAGE))

    def free(self) -> None:
        """Take out what fills it."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A small disk at a folder. Raises CalledProcessError if this user may not mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_mount(folder: Path) -> bool:
    """Whether this user may."""
    try:
        with small_disk(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def full_disks(
    count: int, seed: int, commands: Commands, folder: Path, mounts: bool, jobs: Sequence[str] = tuple(JOBS)
) -> Iterator[Case]:
    """So many full disks, spread over the jobs. folder: an empty one.   mounts: small disks, or limits for files."""
    chance = random.Random(seed)
    whole: dict[str, Undisturbed] = {}
    for number in range(count):
        job = jobs[number % len(jobs)]
        if job not in whole:
            whole[job] = undisturbed(JOBS[job], commands, folder / job)
        if mounts:
            with small_disk(folder / "disk") as disk:
                yield on_small_disk(job, whole[job], disk, chance, commands)
        else:
            yield with_small_files(job, whole[job], folder / "limited", chance, commands)


def on_small_disk(job: str, whole: Undisturbed, disk: Disk, chance: random.Random, commands: Commands) -> Case:
    """A disk that is full, or becomes full while the command runs."""
    folder = disk.folder / "work"
    prepare(folder)
    rest = PAGE * chance.randint(0, 1 + sum(whole.sizes) // PAGE)
    after = chance.choice([0.0, chance.uniform(0, whole.seconds)])
    if after:
        filling = threading.Timer(after, disk.fill, (rest,))
        filling.start()
    else:
        disk.fill(rest)
    ended = commands.run(JOBS[job], folder, save_seconds=0.0)
    if after:
        filling.join()
    what = f"{job}, {rest} bytes left after {after:.3f} s of {whole.seconds:.3f}"
    faults = [*faults_of(ended, folder, whole)]
    disk.free()
    return Case(what, [*faults, *with_room(job, whole, folder, commands)], is_met(ended))


def with_small_files(job: str, whole: Undisturbed, folder: Path, chance: random.Random, commands: Commands) -> Case:
    """A limit for how large files may become: what is written fails on the way, as on a full disk."""
    prepare(folder)
    largest = chance.randint(PAGE, max(PAGE, *whole.sizes) + 1)
    ended = commands.run(JOBS[job], folder, save_seconds=0.0, largest=largest)
    faults = [*faults_of(ended, folder, whole), *with_room(job, whole, folder, commands)]
    shutil.rmtree(folder)
    return Case(f"{job}, files of at most {largest} bytes", faults, is_met(ended))


def is_met(ended: Ended) -> bool:
    """Whether it noticed."""
    return bool(re.search(REASONS, " ".join(ended.said.split())))


def faults_of(ended: Ended, folder: Path, whole: Undisturbed) -> Iterator[str]:
    """What is wrong with how a command met a full disk."""
    said = " ".join(ended.said.split())
    if ended.code not in (0, 1) or "Traceback" in said or "should not have happened" in said:
        yield f"it ended with {ended.code}: {ended.said}"
    elif ended.code == 1 and not re.search(rf"blockprop: .*({REASONS})", said):
        yield f"the reason is not said: {ended.said}"
    elif ended.code == 1 and re.search(rf"blockprop: ({DISPENSABLE}) could not be written .* unchanged", said):
        yield f"it could have gone on: {ended.said}"
    elif ended.code == 0:  # what it can do without may be missing
        for difference in differences(content_of(folder), whole.content):
            if not (is_met(ended) and re.fullmatch(DISPENSABLE, difference.split()[0])):
                yield difference
    yield from broken(folder, "", set())


def with_room(job: str, whole: Undisturbed, folder: Path, commands: Commands) -> Iterator[str]:
    """In what it differs that comes of it once there is room again."""
    ended = commands.run(going_on(JOBS[job], folder), folder)
    if ended.code:
        yield f"with room it failed: {ended.said}"
    yield from differences(content_of(folder), whole.content)
