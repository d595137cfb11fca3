"""Shares of classes from pairs: those towards which libsvm goes in steps."""

import pytest
import torch

from blockprop.blocks import PairwiseCoupling


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_steps_lead_to_the_solution(classes: int) -> None:
    pairs = classes * (classes - 1) // 2
    x = torch.rand(20, pairs, generator=torch.Generator().manual_seed(classes), dtype=torch.float64) * 0.8 + 0.1
    exact = PairwiseCoupling(classes)(x)
    torch.testing.assert_close(PairwiseCoupling(classes, 1e-12)(x), exact, rtol=1e-6, atol=1e-8)
    assert (PairwiseCoupling(classes, 0.005 / classes)(x) - exact).abs().max() < 0.02


def test_consistent_pairs_give_back_the_shares() -> None:
    p = torch.tensor([[0.2, 0.5, 0.3], [0.01, 0.98, 0.01]], dtype=torch.float64)
    pairs = torch.stack([p[:, i] / (p[:, i] + p[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))], 1)
    torch.testing.assert_close(PairwiseCoupling(3)(pairs), p)
