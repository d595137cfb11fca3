"""Run as a program: the extra peak of resident memory of both passes, in bytes, beside what was expected of it."""

import json
import sys

import torch

from blockprop.blocks import GELU, Conv2d
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.networks.architectures import squeezenet1_1, vgg19
from blockprop.preparing.resident import ResidentPeak


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
    peak = ResidentPeak()
    both(network, x)
    print(json.dumps({"expected": expected, "extra": peak.taken()}))


def both(network: Network, x: torch.Tensor) -> None:
    trace = network.forward(x)
    network.backward(trace, {key: torch.ones_like(trace[key]) for key in network.outputs}, wrt="inputs")


if __name__ == "__main__":
    main()
