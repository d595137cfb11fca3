"""Commands in tests: how they are run, what they are run on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.cli import main
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import save
from tests.processes import started

Output = pytest.CaptureFixture[str]
WOLF = ["maximize", "gray wolf", "--steps", "3"]
PHOTO = "photo.png"
CLASSES = ["red fox", "green frog", "blue whale", "gray wolf"]
SEES = Preprocessing(8, 10.0, channels="BGR")
DREAM = ["dream", "photo.png", "-l", "relu1", "--octaves", "2", "--steps", "3", "--jitter", "3"]
LAYERS = ["--content-layer", "relu2", "--style-layer", "relu1", "--style-layer", "relu2=0.5"]
STYLIZE = ["stylize", "photo.png", "waves.png", "--size", "32", "--steps", "3", *LAYERS]


def with_steps(command: list[str], steps: int) -> list[str]:
    """The command with so many steps in place of its own."""
    i = command.index("--steps") + 1
    return [*command[:i], str(steps), *command[i + 1 :]]


def run_json(capsys: Output, *arguments: str) -> dict:
    """Run a command with --json; return the one object that it prints."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out)


def sentence(capsys: Output, *arguments: str, code: int = 1) -> str:
    """Run a command that fails; return its one sentence."""
    capsys.readouterr()
    assert main(list(arguments)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.strip().splitlines() if not line.startswith("the code of ")]
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("blockprop: ")
    return lines[0]


def train_digits(capsys: Output, *more: str) -> dict:
    return run_json(
        capsys, "train", "digits", "--network", "mlp:16", "--epochs", "3", "--out", "net.safetensors", *more
    )


def interrupted(arguments: list[str], state: str, by: signal.Signals = signal.SIGINT) -> str:
    """Run a command, press Ctrl-C or send another signal once the state is there, and return what it said."""
    with started([sys.executable, "-m", "blockprop", *arguments]) as process:
        wait_for(state, process)
        process.send_signal(by)
        _, told = process.communicate(timeout=100)
    assert process.returncode == 128 + by, told
    return told


def wait_for(path: str, process: "subprocess.Popen[str]") -> None:
    """Until the file is there."""
    end = time.monotonic() + 100
    while not Path(path).exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)


def fail(*_: object, **__: object) -> None:
    raise FormatError("the disk is full")


def small(seed: int = 0, dead: bool = False) -> Network:
    """Takes pictures of any size; the score of a class is that of its color, more or less."""
    torch.manual_seed(seed)
    blocks = {
        "conv1": Conv2d(3, 8, 3, padding=1),
        "relu1": ReLU(),
        "pool1": MaxPool2d(2),
        "conv2": Conv2d(8, 8, 3, padding=1),
        "relu2": ReLU(),
        "pool": GlobalAvgPool(),
        "flat": Flatten(),
        "scores": Linear(8, 4),
    }
    blocks["scores"].weight.mul_(50.0)
    if dead:  # nothing gets through conv2's ReLU
        blocks["conv2"].bias.fill_(-100.0)
    return with_preprocessing(Sequential(blocks), Preprocessing(24, 2.0, 1.0, 0.5), CLASSES)


def saved(network: Network, name: str = "net.safetensors") -> str:
    save(network, name)
    return name
