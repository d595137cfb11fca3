"""Run as a program: the extra peak of resident memory of both passes, in bytes, beside what was expected of it."""

import ctypes
import json
import sys
from pathlib import Path

import torch

from blockprop.blocks import GELU, Conv2d
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.networks.architectures import squeezenet1_1, vgg19


def smooth() -> Network:
    """Activations that save what they got, so that computing again helps."""
    torch.manual_seed(0)
    pairs = [(Conv2d(3 if i == 0 else 16, 16, 3, padding=1), GELU()) for i in range(12)]
    return Sequential(*[block for pair in pairs for block in pair])


NETWORKS = {
    "squeezenet": (squeezenet1_1, None),
    "vgg": (lambda: vgg19("relu5_1"), ["relu5_1"]),
    "smooth": (smooth, None),
}


def main() -> None:
    name, side, memory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    make, keep = NETWORKS[name]
    torch.set_num_threads(1)
    network = make().prepare(keep, memory=memory)

    x = torch.rand(1, 3, side, side)
    both(network, x)  # makes what stays: kernels, and the weights in the order that they want for this size
    expected = network.budget.chosen((x,), (*network.inputs, *network.outputs))[2]  # type: ignore[attr-defined]
    ctypes.CDLL(None).malloc_trim(0)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on
    both(network, x)
    print(json.dumps({"expected": expected, "extra": _status("VmHWM") - before}))


def both(network: Network, x: torch.Tensor) -> None:
    trace = network.forward(x)
    network.backward(trace, {key: torch.ones_like(trace[key]) for key in network.outputs}, wrt="inputs")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


if __name__ == "__main__":
    main()
