"""How far saliency in float32 is from torch's autograd, from Captum, and from an oracle for backward rules.

Usage: python bench/agreement.py
"""

import copy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from reporting import table, write_section
from torch import Tensor, nn

from blockprop import from_torch
from blockprop.visualize import saliency

sys.path.insert(0, str(Path(__file__).parent.parent))

from captum import attr

from tests.architectures import ARCHITECTURES
from tests.rules import rule_oracle
from tests.visualize.explained import living
from tests.visualize.test_saliency_captum import OneForAll

PLAIN = ["alexnet", "vgg16", "squeezenet1_1", "resnet50"]
HARD = ["googlenet", "inception_v3", "densenet121"]
STEPS = 20
GRAD_CAM = {"alexnet": "conv5", "squeezenet1_1": "features.7.expand3x3_activation"}


def example(name: str) -> tuple[nn.Module, Tensor]:
    case = ARCHITECTURES[name]
    (x,) = case.inputs(torch.Generator().manual_seed(0))
    return case.make().float(), x.float()


def apart(found: Tensor, expected: Tensor) -> str:
    """The largest difference, by the largest value."""
    return f"{float((found - expected.detach()).abs().max() / expected.abs().max()):.0e}"


def score_of(number: int) -> Callable[[Tensor], Tensor]:
    return lambda y: y[:, number].sum()


def agreement(name: str) -> list[str]:
    """Of one network whose every ReLU is a module: from autograd, and from Captum for each method."""
    module, x = example(name)
    network = from_torch(module, x, free=False)
    number = living(network, x)
    seen = {
        method: saliency(network, x, number, method).attribution
        for method in ("gradient", "gradient_times_input", "guided", "deconvnet")
    }
    seen["integrated"] = saliency(network, x, number, "integrated_gradients", steps=STEPS).attribution
    own, _ = rule_oracle.gradient(copy.deepcopy(module), x, score_of(number))
    zeros = torch.zeros_like(x)
    row = [
        name,
        apart(seen["gradient"], own),
        apart(seen["gradient"], attr.Saliency(module).attribute(x, target=number, abs=False)),
        apart(seen["gradient_times_input"], attr.InputXGradient(module).attribute(x, target=number)),
        apart(
            seen["integrated"],
            attr.IntegratedGradients(module).attribute(x, zeros, target=number, n_steps=STEPS),
        ),
        apart(seen["guided"], attr.GuidedBackprop(module).attribute(x, target=number)),
        apart(seen["deconvnet"], attr.Deconvolution(module).attribute(x, target=number)),
    ]
    return [*row, grad_cam(name, number) if name in GRAD_CAM else "–"]


def grad_cam(name: str, number: int) -> str:
    module, x = example(name)
    for each in module.modules():  # Captum keeps the activation itself, which must not change
        if isinstance(each, nn.ReLU):
            each.inplace = False
    network, layer = from_torch(module, x, free=False), GRAD_CAM[name]
    peer = attr.GuidedGradCam(module, module.get_submodule(layer))
    expected = peer.attribute(x, target=number, interpolate_mode="bilinear")
    return apart(saliency(network, x, number, "guided_grad_cam", node=layer).attribution, expected)


def rounding(name: str) -> tuple[str, str, str]:
    """Integrated gradients: (ours in float32 from float64, Captum's likewise, one from the other in float64)."""
    module, x = example(name)
    number = living(from_torch(module, x, free=False), x)
    ours, theirs = [], []
    for dtype in (torch.float32, torch.float64):
        module, x = module.to(dtype), x.to(dtype)
        network = from_torch(module, x, free=False)
        ours.append(saliency(network, x, number, "integrated_gradients", steps=STEPS).attribution)
        peer = attr.IntegratedGradients(module)
        theirs.append(peer.attribute(x, torch.zeros_like(x), target=number, n_steps=STEPS))
    return apart(ours[0], ours[1]), apart(theirs[0], theirs[1]), apart(ours[1], theirs[1])


def hard(name: str, make: Callable[[], tuple[nn.Module, Tensor]]) -> list[str]:
    """Of a network whose ReLUs hooks do not reach: how far ours and Captum's are from the oracle."""
    module, x = make()
    network = from_torch(module, x, free=False)
    number = living(network, x)
    row = [name]
    for method, oracle, peer in (
        ("guided", rule_oracle.Guided, attr.GuidedBackprop),
        ("deconvnet", rule_oracle.Deconvnet, attr.Deconvolution),
    ):
        expected, count = rule_oracle.gradient(copy.deepcopy(module), x, score_of(number), oracle)
        seen = saliency(network, x, number, method, strict=True)
        assert seen.coverage is not None
        row.append(f"{apart(seen.attribution, expected)} ({len(seen.coverage.replaced)} of {count} ReLUs)")
        try:
            row.append(apart(peer(copy.deepcopy(module)).attribute(x, target=number), expected))
        except (RuntimeError, AssertionError) as error:
            row.append(f"fails: {str(error).splitlines()[0][:60]} …")
    return row


def reused(inplace: bool) -> Callable[[], tuple[nn.Module, Tensor]]:
    def make() -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        return OneForAll(inplace).eval(), torch.randn(2, 3, 8, 8)

    return make


def main() -> None:
    warnings.simplefilter("ignore")  # Captum's remarks about hooks
    heads = ["network", "autograd", "Saliency", "InputXGradient", "IntegratedGradients", "GuidedBackprop"]
    first = table([*heads, "Deconvolution", "GuidedGradCam"], [agreement(name) for name in PLAIN])
    cases = {name: lambda name=name: example(name) for name in HARD}
    cases |= {"one ReLU used ten times": reused(False), "the same, in place": reused(True)}
    second = table(
        ["network", "guided, ours", "guided, Captum", "deconvnet, ours", "deconvnet, Captum"],
        [hard(name, make) for name, make in cases.items()],
    )
    ours, theirs, both = rounding("resnet50")
    text = f"""## Saliency is right

By `bench/agreement.py`, in float32: the largest difference between two attributions, divided by the largest value.
Wanted is 1e-4. The architectures are those of the tests, narrower than published, with random weights. First where
Captum sees every ReLU: ours from autograd's gradient, and from Captum's methods.

{first}

Integrated gradients of ResNet-50 are at the mercy of rounding, which closes some ReLUs and opens others: ours in
float32 are {ours} from those in float64, Captum's {theirs}. In float64 the two differ by {both}.

Where ReLUs are functions (GoogLeNet, Inception v3, parts of DenseNet), Captum's hooks miss them; one module used many
times its present version gets right. Both are compared with an oracle: torch's autograd, with every spelling of ReLU
overridden.

{second}
"""
    write_section("agreement", text)


if __name__ == "__main__":
    main()
