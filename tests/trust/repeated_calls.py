"""Public functions called again and again: does the process grow? And from several threads: is it the same?"""

import gc
import itertools
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from blockprop import (
    Block,
    Network,
    Preprocessing,
    Sequential,
    check_network,
    costs,
    cross_entropy,
    diagram,
    evaluate,
    fit,
    from_onnx,
    from_torch,
    load,
    predict,
    save,
    to_onnx,
    to_torch,
    with_preprocessing,
)
from blockprop.blocks import BatchNorm2d, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, MaxPool2d, ReLU, Tanh
from blockprop.errors import BlockpropError
from blockprop.visualize import dream, maximize, saliency, segment, stylize
from blockprop.visualize.attribution.methods import METHODS


class Small(nn.Module):
    """A module to import."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        return self.fc(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Scene(NamedTuple):
    """What is called with."""

    network: Network
    picture: Tensor
    module: nn.Module
    folder: Path


def scene(folder: Path) -> Scene:
    """The same each time; files are put into the folder."""
    torch.manual_seed(0)
    parts: dict[str, Block] = {
        "conv1": Conv2d(3, 6, 3, padding=1),
        "norm": BatchNorm2d(6),
        "relu1": ReLU(),
        "pool": MaxPool2d(2),
    }
    parts |= {"conv2": Conv2d(6, 8, 3, padding=1), "relu2": ReLU(), "drop": Dropout(0.5)}
    network = with_preprocessing(
        Sequential(parts | {"mean": GlobalAvgPool(), "fc": Linear(8, 4)}), Preprocessing(12), ["a", "b", "c", "d"]
    )
    made = Scene(network, torch.rand(2, 3, 12, 12), Small().eval(), folder)
    save(network, folder / "net.safetensors")
    to_onnx(network, folder / "net.onnx")
    return made


def both_passes(given: Scene) -> dict[str, Tensor]:
    """The outputs, and all gradients."""
    trace = given.network.forward(given.picture)
    return {"y": trace.output} | given.network.backward(trace, torch.ones(2, 4), ("parameters", "inputs"))


def training_step(given: Scene) -> dict[str, Tensor]:
    """One step, of a copy."""
    network = given.network.copy()
    data = (given.picture, torch.tensor([0, 1]))
    fit(network, data, cross_entropy(), epochs=1, batch_size=2, rate=0.01).finish()
    return network.parameters


def imported(given: Scene) -> dict[str, Tensor]:
    """The parameters of what is imported from torch, and the graph as text."""
    network = from_torch(given.module, given.picture)
    return {**network.parameters, "graph": torch.tensor([*repr(network).encode()])}


def refused(given: Scene) -> dict[str, Tensor]:
    """Errors hold on to nothing, either."""
    try:
        given.network.forward(given.picture[:, :2])
    except BlockpropError:
        return {}
    raise AssertionError("two channels were taken for three")


def _saved(given: Scene) -> Any:
    save(given.network, given.folder / "again.safetensors")
    return load(given.folder / "again.safetensors").parameters


def _exported(given: Scene) -> Any:
    to_onnx(given.network, given.folder / "again.onnx")


def _seen(method: str) -> "Action":
    return lambda given: {"map": saliency(given.network, given.picture, "b", method=method).map}


def _segmented(given: Scene) -> Any:
    return {"mask": segment(given.picture[:1], given.picture[0].mean(0)).mask}


def _maximized(given: Scene) -> Any:
    return {"picture": maximize(given.network, "c", steps=2, seed=1).finish().picture}


def _dreamt(given: Scene) -> Any:
    run = dream(given.network, given.picture[:1], "relu1", steps=1, octaves=1, jitter=1)
    run.finish()
    return {"picture": run.picture()}


def _stylized(given: Scene) -> Any:
    one, two = given.picture[:1], given.picture[1:]
    run = stylize(given.network, one, two, steps=1, content_layers="relu2", style_layers=["relu1"])
    run.finish()
    return {"picture": run.picture()}


def _checked(given: Scene) -> Any:
    small = Sequential(Flatten(), Linear(48, 3), Tanh(), Linear(3, 4))
    check_network(small, given.picture[:, :, :4, :4], objective=cross_entropy(), target=torch.tensor([0, 1])).verify()


def _as_module(given: Scene) -> Any:
    module = to_torch(given.network).eval()
    module(given.picture).sum().backward()
    return {name: p.grad for name, p in module.named_parameters()}


Action = Callable[[Scene], Any]
ACTIONS: Mapping[str, tuple[Action, int]] = {
    "forward and backward": (both_passes, 2000),
    "predict": (lambda given: {"y": predict(given.network, given.picture)}, 1000),
    "evaluate": (lambda given: evaluate(given.network, (given.picture, torch.tensor([0, 1])), cross_entropy()), 1000),
    "a refused call": (refused, 1000),
    "a step of training": (training_step, 1000),
    "save and load": (_saved, 500),
    "from_torch": (imported, 500),
    "to_torch": (_as_module, 500),
    "from_onnx": (lambda given: from_onnx(given.folder / "net.onnx").parameters, 500),
    "to_onnx": (_exported, 300),
    "check": (_checked, 100),
    "diagram and costs": (lambda given: (diagram(given.network), costs(given.network, (1, 3, 12, 12))), 500),
    "segment": (_segmented, 200),
    "steps of maximize": (_maximized, 300),
    "a step of dream": (_dreamt, 300),
    "a step of stylize": (_stylized, 300),
    **{f"saliency, {method}": (_seen(method), 120) for method in METHODS},
}
"""Each with how often it is called, of some 10,000 calls in all."""


class Growth(NamedTuple):
    """What a call left behind, at the least of some stretches: a leak goes on, and what fills up does not."""

    objects: float
    """of Python"""
    memory: float
    """of the process, in bytes"""


STRETCHES = 3


def growth(action: Action, given: Scene, calls: int) -> Growth:
    """Of so many calls in each stretch, after as many to begin with, in which caches fill."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        marks = []
        gc.freeze()  # what is there already is not looked through each time
        for _ in range(STRETCHES + 1):
            for _ in range(calls):
                action(given)
            marks.append((_objects(), resident()))
        gc.unfreeze()
        steps = [[(b - a) / calls for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(marks)]
        return Growth(*map(min, zip(*steps, strict=True)))


def resident() -> int:
    """Bytes of the process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
