"""Runs that are killed, terminated or interrupted at random moments, again and again, and go on each time: in the end
there is what a run leaves that nobody disturbed, bit for bit, and nothing else; in between every file is whole.
"""

import csv
import random
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from PIL import Image

from blockprop.pictures.picture_files import read_picture, read_settings
from blockprop.saving.checkpoints import read_checkpoint
from blockprop.saving.storage import WEIGHTS, load, save
from tests.commands.running import DREAM, LAYERS, small
from tests.trust.forking import Blow, Commands, Ended

TRAIN = ["train", "digits", "--epochs", "12", "--out", "net.safetensors", "--log", "log.csv", "--network"]
STYLIZE = ["stylize", "photo.png", "waves.png", "--size", "32", "--steps", "16", *LAYERS]
PICTURE = ["--network", "small.safetensors", "--out", "made.png"]
JOBS: dict[str, list[str]] = {
    "train": [*TRAIN, "mlp:16", "--schedule", "cosine", "--patience", "9"],
    "train, averaged": [*TRAIN, "mlp:8", "--optimizer", "adam", "--augment", "shift:1", "--average", "0.9"],
    "train, into a folder": [*TRAIN[:4], "--out", "net", "--network", "mlp:16"],
    "maximize": ["maximize", "gray wolf", "--steps", "40", "--preview-every", "3", *PICTURE],
    "dream": [*DREAM[:-4], "--steps", "6", "--jitter", "3", *PICTURE],
    "dream, frames": [*DREAM[:-4], "--steps", "2", "--frames", "3", "--film", "frames", *PICTURE],
    "dream, film": [*DREAM[:-4], "--steps", "2", "--frames", "3", "--film", "film.gif", *PICTURE],
    "stylize": [*STYLIZE, *PICTURE],
    "sheet": ["sheet", "red fox", "gray wolf", "--steps", "20", *PICTURE],
}
SIGNALS = {
    "SIGKILL": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "Ctrl-C": (signal.SIGINT,),
    "Ctrl-C twice": (signal.SIGINT, signal.SIGINT),
    "SIGTERM, then SIGKILL": (signal.SIGTERM, signal.SIGKILL),
}
MOST = 4
"""Kills of one run."""


class Kill(NamedTuple):
    """One kill of a run, and what was found after it, or at the end of the run."""

    what: str
    faults: list[str]


def prepare(folder: Path) -> None:
    """Put there what the commands read."""
    folder.mkdir()
    save(small(), folder / "small.safetensors")
    y, x = np.mgrid[:40, :60]
    Image.fromarray(np.stack([x * 4, y * 5, 255 - x * 3], 2).astype(np.uint8)).save(folder / "photo.png")
    waves = np.stack([np.sin(x / 3 + shift) * 100 + 128 for shift in (0, 1, 2)], 2).astype(np.uint8)
    Image.fromarray(waves).save(folder / "waves.png")


class Undisturbed(NamedTuple):
    """A run that nobody stopped."""

    seconds: float
    content: dict[str, Any]
    sizes: list[int]
    """Of its files, in bytes."""


def kills(count: int, seed: int, commands: Commands, folder: Path, jobs: Sequence[str] = tuple(JOBS)) -> Iterator[Kill]:
    """So many kills, spread over the jobs. folder: an empty one."""
    chance, done = random.Random(seed), 0
    whole: dict[str, Undisturbed] = {}
    while done < count:
        for job in jobs:
            if job not in whole:
                whole[job] = undisturbed(JOBS[job], commands, folder / job)
            for kill in run_killed(job, whole[job], min(MOST, count - done), chance, commands, folder / "killed"):
                done += 1
                yield kill
            if done >= count:
                return


def undisturbed(arguments: list[str], commands: Commands, folder: Path) -> Undisturbed:
    """What a job leaves when nobody disturbs it, and how long it takes."""
    prepare(folder)
    ended = commands.run(arguments, folder)
    assert ended.code == 0, ended.said
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Undisturbed(ended.seconds, content_of(folder), sizes)


def run_killed(
    job: str, whole: Undisturbed, most: int, chance: random.Random, commands: Commands, folder: Path
) -> Iterator[Kill]:
    """Kill a job up to so many times, then let it come to its end."""
    prepare(folder)
    kills: list[Kill] = []
    for _ in range(chance.randint(1, most)):
        name = chance.choice([*SIGNALS])
        after, seconds = chance.uniform(0, whole.seconds), chance.choice([0.0, 0.02, 60.0])
        blows = [Blow(SIGNALS[name][0], after), *(Blow(n, chance.uniform(0, 0.02)) for n in SIGNALS[name][1:])]
        before = hidden(folder)
        ended = commands.run(going_on(JOBS[job], folder), folder, blows, seconds)
        what = f"{job}, {name} after {after:.3f} s of {whole.seconds:.3f}, saved every {seconds} s"
        kills.append(Kill(what, [*faults_of(ended, SIGNALS[name]), *broken(folder, name, before)]))
    ended = commands.run(going_on(JOBS[job], folder), folder)
    if ended.code:
        kills[-1].faults.append(f"going on failed: {ended.said}")
    kills[-1].faults.extend(differences(content_of(folder), whole.content))
    shutil.rmtree(folder)
    yield from kills


def going_on(arguments: list[str], folder: Path) -> list[str]:
    """The command, which goes on if there is something to go on from."""
    states = [path for path in folder.iterdir() if ".state" in path.suffixes or path.suffix == ".checkpoint"]
    states = [path for path in states if not path.name.startswith(".")]
    return [*arguments, "--resume" if states else "--force"]


def faults_of(ended: Ended, numbers: tuple[int, ...]) -> Iterator[str]:
    """What is wrong with how a command ended that was sent these signals."""
    allowed = {0, *(-number if number == signal.SIGKILL else 128 + number for number in numbers)}
    if ended.code not in allowed:
        yield f"it ended with {ended.code}, expected one of {sorted(allowed)}: {ended.said}"
    if "Traceback" in ended.said or "should not have happened" in ended.said:
        yield ended.said


def hidden(folder: Path) -> set[Path]:
    """Temporary files and locks."""
    return {path for path in folder.rglob("*") if path.name.startswith(".")}


def broken(folder: Path, name: str, before: set[Path]) -> Iterator[str]:
    """Files that are not whole; and hidden ones that were not there before, after what was no SIGKILL."""
    if "SIGKILL" not in name:
        yield from (f"{path.name} was left" for path in hidden(folder) - before)
    for path in sorted({*folder.rglob("*")} - hidden(folder)):
        if path.is_file():
            try:
                read(path)
            except Exception as error:
                yield f"{path.name} is broken: {error!r}"


def read(path: Path) -> Any:
    """What is in a file, without what differs from run to run."""
    if path.suffix in (".html", ".svg"):  # they hold times
        assert path.read_text().rstrip().endswith(f"</{path.suffix[1:]}>")
        return None
    if path.suffix == ".npy":
        return torch.from_numpy(np.load(path))
    if path.suffix == ".onnx":
        onnx.checker.check_model(str(path))
    if path.suffix in (".gif", ".onnx"):
        return path.read_bytes()
    if path.suffix == ".png":
        picture = read_picture(path)
        settings = read_settings(path) if path.name.startswith("made") else None
        return picture, settings
    if path.name in WEIGHTS or path.name.startswith("."):
        return None  # weights are read with their graph
    if path.name == "network.json":
        path = path.parent
    if path.suffix == ".safetensors" or path.is_dir():
        network = load(path)
        return {"meta": network.meta, **network.state}
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [{**row, "seconds": ""} for row in csv.DictReader(file, strict=True)]
    state = read_checkpoint(path)
    if "progress" in state:
        state["progress"][3] = "seconds"
    return state | {"seconds": ""}


def content_of(folder: Path) -> dict[str, Any]:
    """All that is in a folder, by name; the weights of a folder have either of two."""
    named = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name.replace(WEIGHTS[1], WEIGHTS[0]): read(path) for name, path in named.items()}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    """In what a folder differs from that of a run that nobody disturbed."""
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            yield f"{name} was {'left' if name in ours else 'lost'}"
        elif not same(ours[name], theirs[name]):
            yield f"{name} differs"


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal, bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
