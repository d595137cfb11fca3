"""Time and peak memory of saliency, beside torch's autograd and Captum, on the same networks and pictures.

Usage: python bench/saliency.py
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from reporting import interleaved, machine, table, write_section
from torch import Tensor, nn
from training_step import peak_memory

from blockprop import from_torch
from blockprop.visualize import saliency

sys.path.insert(0, str(Path(__file__).parent.parent))

from captum.attr import GuidedBackprop, IntegratedGradients, NoiseTunnel, Saliency

from tests.architectures.googlenet import GoogLeNet
from tests.architectures.squeezenet import SqueezeNet

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SqueezeNet": lambda: SqueezeNet(1.0, 1000),
    "GoogLeNet": lambda: GoogLeNet(1.0, 1000, auxiliary=False),
}
SIDE = 224
BATCHES = (1, 8)
SAMPLES = 10


def autograd(module: nn.Module, x: Tensor, number: int) -> Callable[[], object]:
    """The usual few lines; the weights want no gradients, so that autograd, too, goes back to the input alone."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)

    def run() -> Tensor:
        picture = x.clone().requires_grad_()
        (d_x,) = torch.autograd.grad(module(picture)[:, number].sum(), picture)
        return d_x.abs().amax(1)

    return run


def cases(build: Callable[[], nn.Module], batch: int) -> dict[str, tuple[Callable[[], object], ...]]:
    """What is compared: ours first."""
    torch.manual_seed(0)
    module, x = build().eval(), torch.rand(batch, 3, SIDE, SIDE)
    network = from_torch(module, x, free=False)
    number = int(network(x).amin(0).argmax())
    plain, integrated, guided = Saliency(module), IntegratedGradients(module), GuidedBackprop(module)
    noisy = NoiseTunnel(plain)
    start = torch.zeros_like(x)
    found = {
        "gradient": (
            lambda: saliency(network, x, number),
            autograd(module, x, number),
            lambda: plain.attribute(x.requires_grad_(), target=number).amax(1),
        ),
        "guided": (lambda: saliency(network, x, number, "guided"), None, lambda: guided.attribute(x, target=number)),
    }
    if batch == 1:
        found |= {
            f"smooth_grad, {SAMPLES} samples": (
                lambda: saliency(network, x, number, "smooth_grad", samples=SAMPLES),
                None,
                lambda: noisy.attribute(x, nt_samples=SAMPLES, stdevs=0.15, target=number),
            ),
            f"integrated_gradients, {SAMPLES} steps": (
                lambda: saliency(network, x, number, "integrated_gradients", steps=SAMPLES),
                None,
                lambda: integrated.attribute(x, start, target=number, n_steps=SAMPLES),
            ),
        }
    return found


def measured(ways: tuple[Callable[[], object] | None, ...]) -> list[str]:
    """Milliseconds and MB of each, and the ratios to ours; a dash for what does not exist."""
    present = [way for way in ways if way is not None]
    seconds, memory = iter(interleaved(present, 1, 3)), iter([peak_memory(way) for way in present])
    return [f"{next(seconds) * 1e3:,.0f} ms, {next(memory) / 1e6:,.1f} MB" if way else "–" for way in ways]


def main() -> None:
    warnings.simplefilter("ignore")  # Captum's remarks about hooks
    rows = []
    for name, build in NETWORKS.items():
        for batch in BATCHES:
            for method, ways in cases(build, batch).items():
                rows.append([f"{name}, batch {batch}", method, *measured(ways)])
    heads = ["network", "method", "ours", "autograd", "Captum"]
    text = f"""## Saliency

By `bench/saliency.py`, on {machine()}, {torch.get_num_threads()} threads: time (best of 3 rounds
in which all take turns) and peak memory of the tensors made in a call, without weights and the picture, from torch's
own profiler. Networks of full width with random weights, {SIDE} x {SIDE} pixels, ReLUs in place in the torch modules.
Autograd is told that weights need no gradient.

{table(heads, rows)}

Captum's guided back-propagation leaves out GoogLeNet's ReLUs that are functions; ours replaces all 57.
"""
    write_section("saliency", text)


if __name__ == "__main__":
    main()
