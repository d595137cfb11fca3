"""Layers by depth: which rectifiers have rows and columns, and the default layers of unknown networks."""

import torch

from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.networks.build import build_network
from blockprop.visualize import dream, stylize
from blockprop.visualize.depth import at_depth, spatial_rectifiers
from tests.visualize.closing import closed


def with_dense_head() -> Network:
    return Sequential(
        {"conv1": Conv2d(3, 4, 3, padding=1), "relu1": ReLU(), "conv2": Conv2d(4, 6, 3, padding=1), "relu2": ReLU()},
        {"pool": GlobalAvgPool(), "flatten": Flatten(), "fc6": Linear(6, 5), "relu6": ReLU(), "fc7": Linear(5, 4)},
    )


def test_rectifiers_without_places_are_left_out() -> None:
    assert spatial_rectifiers(with_dense_head()) == ["relu1", "relu2"]


def test_networks_of_one_size_are_tried_with_it() -> None:
    network = build_network("lenet", (1, 28, 28), 10)
    assert spatial_rectifiers(network) == ["relu1", "relu2"]


def test_depth() -> None:
    names = list("abcdefghij")
    assert [at_depth(names, depth) for depth in (0.0, 0.1, 0.65, 0.99, 1.0)] == ["a", "b", "g", "j", "j"]


def test_unknown_networks_dream_and_paint_at_rectifiers_with_places() -> None:
    network, picture = with_dense_head(), torch.rand(1, 3, 24, 24)
    assert closed(dream(network, picture, octaves=1)).objective.nodes == ("relu2",)
    run = closed(stylize(network, picture, picture, steps=1, scales=1))
    assert set(run.weights.content_layers) | set(run.weights.style_layers) == {"relu1", "relu2"}
