"""Saliency against Captum where it is right, and an oracle where it is not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from blockprop import Network, from_torch
from blockprop.visualize import saliency
from tests.rules import rule_oracle
from tests.visualize.explained import class_score, close, imported, living


def captum() -> Any:
    return pytest.importorskip("captum.attr")


PLAIN = ["alexnet", "vgg16", "squeezenet1_1", "resnet50"]
"""Networks whose every ReLU is an nn.ReLU, which Captum sees."""
peers_warnings = pytest.mark.filterwarnings("ignore::UserWarning")


@peers_warnings
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_as_captum(name: str, dtype: torch.dtype) -> None:
    attr = captum()
    module, network, x = imported(name, dtype)
    number = living(network, x)
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}[dtype]
    peers = {
        "gradient": attr.Saliency(module).attribute(x, target=number, abs=False),
        "gradient_times_input": attr.InputXGradient(module).attribute(x, target=number),
        "guided": attr.GuidedBackprop(module).attribute(x, target=number),
        "deconvnet": attr.Deconvolution(module).attribute(x, target=number),
    }
    for method, expected in peers.items():
        close(saliency(network, x, number, method, strict=True).attribution, expected, tolerance)


@peers_warnings
@pytest.mark.parametrize("name", PLAIN)
def test_integrated_gradients_as_captum(name: str) -> None:
    module, network, x = imported(name)
    number = living(network, x)
    baseline = torch.randn_like(x[:1])
    peer = captum().IntegratedGradients(module)
    expected, delta = peer.attribute(x, baseline, target=number, n_steps=20, return_convergence_delta=True)
    seen = saliency(network, x, number, "integrated_gradients", steps=20, baseline=baseline)
    close(seen.attribution, expected, 1e-6)  # Captum's steps are float32
    torch.testing.assert_close(seen.residual, delta, rtol=1e-5, atol=1e-6 * float(expected.abs().sum()))


@peers_warnings
@pytest.mark.parametrize(
    ("name", "layer"), [("alexnet", "conv5"), ("squeezenet1_1", "features.7.expand3x3_activation")]
)
def test_guided_grad_cam_as_captum(name: str, layer: str) -> None:
    module, network, x = imported(name)
    number = living(network, x)
    part = module.get_submodule(layer)
    for each in module.modules():  # Captum keeps the activation itself, which must not change
        if isinstance(each, nn.ReLU):
            each.inplace = False
    peer = captum().GuidedGradCam(module, part)
    expected = peer.attribute(x, target=number, interpolate_mode="bilinear")
    close(saliency(network, x, number, "guided_grad_cam", node=layer).attribution, expected)


class OneForAll(nn.Module):
    """One ReLU used ten times, in place or not."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 6, 6, 3, padding=1) for i in range(10))
        self.relu, self.fc = nn.ReLU(inplace), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = self.relu(conv(x))
        return self.fc(x.mean((2, 3)))


def one_for_all(inplace: bool) -> tuple[nn.Module, Network, Tensor]:
    module, x = OneForAll(inplace).double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    return module, from_torch(module, x, free=False), x


HARD = {
    **{name: lambda name=name: imported(name) for name in ("googlenet", "inception_v3", "densenet121")},
    "one ReLU ten times": lambda: one_for_all(False),
    "one ReLU ten times, in place": lambda: one_for_all(True),
}


@pytest.mark.parametrize("case", HARD)
def test_right_however_relu_is_written(case: str) -> None:
    module, network, x = HARD[case]()
    for method, oracle in (("guided", rule_oracle.Guided), ("deconvnet", rule_oracle.Deconvnet)):
        expected, count = rule_oracle.gradient(module, x, class_score(1), oracle)
        seen = saliency(network, x, 1, method, strict=True)
        close(seen.attribution, expected)
        assert seen.coverage is not None
        assert len(seen.coverage.replaced) == count
