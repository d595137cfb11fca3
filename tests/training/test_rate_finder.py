"""The search for a learning rate: where descent on a quadratic function diverges, and what is left alone."""

import pytest
import torch

from blockprop.blocks import Linear, ReLU
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.training.rate_finder import RateCurve, find_rate


def test_the_loss_leaves_all_bounds_beyond_two_over_the_largest_curvature() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    network = Sequential(Linear(5, 1, with_bias=False))
    y = x @ torch.randn(5, 1)
    curvature = 2 * torch.linalg.eigvalsh(x.T @ x / 64).max()  # of the mean of (x w − y)²
    curve = find_rate(network, (x, y), mean_squared_error(), batch_size=64, steps=60, highest=100.0)
    assert curve.rates[-1] < 100
    assert curve.suggestion < 2 / curvature


def test_the_network_stays_and_rates_grow_by_one_factor() -> None:
    torch.manual_seed(0)
    network = Sequential(Linear(4, 8), ReLU(), Linear(8, 3))
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    data = torch.randn(50, 4), torch.arange(50) % 3
    settings = {"steps": 9, "lowest": 1e-4, "highest": 1.0, "batch_size": 16}
    for optimizer in (None, torch.optim.Adam):
        curve = find_rate(network, data, cross_entropy(), optimizer=optimizer, **settings)
        assert curve.rates == pytest.approx([10 ** (-4 + i / 2) for i in range(9)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())


def test_the_suggestion_is_half_the_way_down() -> None:
    assert RateCurve((0.1, 0.2, 0.4, 0.8, 1.6), (2.0, 1.9, 1.4, 1.0, 5.0)).suggestion == 0.4
    assert RateCurve((0.1, 0.2, 0.4, 0.8, 1.6), (2.0, 1.4, 1.9, 1.0, 5.0)).suggestion == 0.8  # noise in between


def test_a_loss_that_hardly_falls_is_no_guide() -> None:
    assert RateCurve((0.1, 0.2, 0.4), (2.0, 1.7, 3.0)).is_clear
    assert not RateCurve((0.1, 0.2, 0.4), (2.0, 1.9, 3.0)).is_clear


def test_refused() -> None:
    data = torch.randn(8, 2), torch.zeros(8, 1)
    with pytest.raises(SettingError, match="lowest < highest"):
        find_rate(Sequential(Linear(2, 1)), data, mean_squared_error(), lowest=1.0, highest=0.1)
    with pytest.raises(SettingError, match="leaves all bounds"):
        find_rate(Sequential(Linear(2, 1)), data, mean_squared_error(), lowest=1e10, highest=1e30)
