"""The sanity check: maps change as the network forgets."""

import pytest

from blockprop.visualize import sanity
from tests.visualize.saliency_oracle import small


def test_sanity_randomizes_from_the_top_down() -> None:
    network, x = small()
    records = list(sanity(network, x, 1))
    assert [record.layer for record in records] == ["linear1", "conv2d2", "conv2d1"]
    assert [(record.step, record.steps) for record in records] == [(1, 3), (2, 3), (3, 3)]
    assert all(-1 <= value <= 1 for record in records for value in (record.correlation, record.absolute))
    assert records == list(sanity(network, x, 1))
    assert records != list(sanity(network, x, 1, seed=1))


def test_sanity_sees_a_map_that_does_not_change() -> None:
    network, x = small()
    for name in ("conv2d1", "conv2d2"):
        network.blocks[name].weight.fill_(0.1)
        network.blocks[name].bias.fill_(0.1)
    network.blocks["linear1"].weight.fill_(0.1)  # weights that no order can change
    assert all(record.correlation == record.absolute == pytest.approx(1) for record in sanity(network, x, 1))
