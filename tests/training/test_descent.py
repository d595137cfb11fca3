"""Gradient descent: the rule, and clipping."""

import pytest
import torch

from blockprop.engine.objectives import cross_entropy
from blockprop.training.descent import GradientDescent, clipped
from blockprop.training.fit import fit
from tests.training.examples import data, net


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.01), (0.9, 0.01)], ids=str)
def test_gradient_descent_equals_torch(momentum: float, weight_decay: float) -> None:
    torch.manual_seed(0)
    mine, theirs = [torch.randn(3, 4), torch.randn(2)], []
    theirs = [p.clone().requires_grad_() for p in mine]
    descent = GradientDescent(mine, 0.1, momentum, weight_decay)
    peer = torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for _ in range(5):
        gradients = [torch.randn_like(p) for p in mine]
        descent.update(mine, gradients)
        for p, g in zip(theirs, gradients, strict=True):
            p.grad = g.clone()
        peer.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-6, atol=1e-7)


def test_clipping_scales_all_gradients_by_one_factor() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert [g.item() for g in clipped(gradients, 10.0)] == [3.0, 4.0]
    assert [g.item() for g in clipped(gradients, 1.0)] == pytest.approx([0.6, 0.8])
    assert [g.item() for g in clipped([gradients[0].expand(3)], 1.0)[0]] == pytest.approx([3**-0.5] * 3)
    network = net()
    before = {name: p.clone() for name, p in network.parameters.items()}
    next(fit(network, data(), cross_entropy(), rate=1.0, clip=0.01))
    moved = torch.stack([(p - before[name]).norm() for name, p in network.parameters.items()]).norm()
    assert moved.item() == pytest.approx(0.01, rel=1e-3)
