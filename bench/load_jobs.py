"""What load.py measures: a process that does a job whenever its name is sent, and answers with the seconds it took."""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from blockprop.commands import showcase
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.networks.architectures import googlenet, squeezenet1_1
from blockprop.networks.build import build_network
from blockprop.networks.shipped import shipped
from blockprop.training.fit import fit
from blockprop.visualize import dream, each, maximize, saliency, stylize
from blockprop.visualize.running import PictureRun

Job = Callable[[], object]
STEPS, BATCH = 40, 64


def explained(network: Network) -> Job:
    """One saliency map of a photograph of 224 × 224 pixels."""
    photo = torch.rand(1, 3, 224, 224)
    return lambda: saliency(network, photo, 0)


def trained() -> Job:
    """Steps of a small convolutional network."""
    x, y = torch.rand(STEPS * BATCH, 1, 28, 28), torch.randint(10, (STEPS * BATCH,))
    network = build_network("lenet", (1, 28, 28), 10)
    return lambda: list(fit(network, (x, y), cross_entropy(), epochs=1, batch_size=BATCH))


def maximized() -> Job:
    """A picture for each of ten classes, as in the demonstration, in fewer steps."""
    network = shipped("pictures")
    return lambda: _made(maximize(network, each(network, network.meta["classes"]), showcase.SEEN_SIDE, 8))


def dreamed() -> Job:
    """A step at each of the sizes of a photograph."""
    network, photo = shipped("pictures"), torch.rand(1, 3, 128, 192)
    return lambda: _made(dream(network, photo, "stage4", steps=1))


def painted() -> Job:
    """Steps towards another picture's manner."""
    network, photo, painting = shipped("pictures"), torch.rand(1, 3, 96, 128), torch.rand(1, 3, 96, 128)
    return lambda: _made(stylize(network, photo, painting, None, 4))


def _made(run: PictureRun) -> Tensor:
    run.finish()
    return run.picture()


JOBS: dict[str, Callable[[], Job]] = {
    "saliency, SqueezeNet": lambda: explained(squeezenet1_1()),
    "saliency, GoogLeNet": lambda: explained(googlenet()),
    f"training, {STEPS} steps": trained,
    "maximizing, 8 steps": maximized,
    "dreaming": dreamed,
    "painting, 4 steps": painted,
}
"""How each is prepared; the demonstration is made of the last four."""


def serve() -> None:
    """Answer until nobody asks."""
    torch.manual_seed(0)
    jobs = {name: prepare() for name, prepare in JOBS.items()}
    for job in jobs.values():
        job()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        jobs[line.strip()]()
        print(time.perf_counter() - start, flush=True)
