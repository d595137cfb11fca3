"""Run as a program: what a job takes of resident memory at its worst moment, in bytes, beside what it expected.

Arguments: a job's name, pixels of a side, the memory.
"""

import json
import sys
from collections.abc import Callable

import torch

from blockprop.networks.architectures import squeezenet1_1, vgg19
from blockprop.preparing.resident import Expected, ResidentPeak
from blockprop.visualize.attribution.saliency import saliency
from blockprop.visualize.dream import dream
from blockprop.visualize.maximize import maximize
from blockprop.visualize.running import PictureRun
from blockprop.visualize.style.stylize import stylize

Watch = Callable[[Expected | None], None]


def run(made: PictureRun, watch: Watch) -> None:
    watch(made.expected)
    made.finish()


def dreams(x: torch.Tensor, memory: str, watch: Watch) -> None:
    run(dream(squeezenet1_1(), x, ["fire5", "fire3"], steps=2, octaves=2, memory=memory), watch)


def styles(x: torch.Tensor, memory: str, watch: Watch) -> None:
    run(stylize(vgg19("relu5_1"), x, x.flip(2), steps=3, scales=2, memory=memory), watch)


def maxima(x: torch.Tensor, memory: str, watch: Watch) -> None:
    run(maximize(squeezenet1_1(), 5, x.shape[2], 4, redirect_steps=2, memory=memory), watch)


def maps(method: str) -> Callable[[torch.Tensor, str, Watch], None]:
    def found(x: torch.Tensor, memory: str, watch: Watch) -> None:
        passes = {"samples": 3} if method == "smooth_grad" else {}
        saliency(squeezenet1_1(), x, 5, method, memory=memory, expecting=watch, **passes)

    return found


JOBS = {"dream": dreams, "style": styles, "maximize": maxima}
JOBS |= {method: maps(method) for method in ("gradient", "smooth_grad", "guided", "grad_cam", "guided_grad_cam")}


def main() -> None:
    name, side, memory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    told: list[Expected] = []
    peaks: list[ResidentPeak] = []

    def watch(expected: Expected | None) -> None:
        if expected is not None:
            told.append(expected)
            if not peaks:
                peaks.append(ResidentPeak())

    JOBS[name](torch.rand(1, 3, side, side), memory, watch)
    most = max(told)
    print(json.dumps({"expected": most.bytes, "how": most.how, "taken": peaks[0].taken()}))


if __name__ == "__main__":
    main()
