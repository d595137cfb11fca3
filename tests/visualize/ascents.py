"""A small network and an ascent to test with."""

from typing import Any

import torch

from blockprop.blocks import Affine, Conv2d, Dropout, GlobalAvgPool, Linear, ReLU, Softmax
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.visualize.ascent import Ascent
from blockprop.visualize.maximize import maximize

PLAIN = {"l2": 0.0, "total_variation": 0.0, "doubt": 0.0}
CLASSES = ["tench", "goldfish", "goose", "dog"]


def small(channels: int = 3) -> Network:
    """Conv, ReLU, pool, Dropout, scores, softmax; for pictures of 16 x 16."""
    blocks = {
        "conv": Conv2d(channels, 8, 5),
        "relu": ReLU(),
        "pool": GlobalAvgPool(),
        "drop": Dropout(0.5),
        "fc": Linear(8, 4),
        "softmax": Softmax(),
    }
    kind = "RGB" if channels == 3 else "gray"
    return with_preprocessing(Sequential(blocks), Preprocessing(16, 2.0, 1.0, 0.5, kind), CLASSES)


def start(**settings: Any) -> Ascent:
    """A short run of a network that is the same each time."""
    torch.manual_seed(1)
    return maximize(small(), "goose", **{"steps": 6, "count": 2, **PLAIN, **settings})


def straight() -> Network:
    return Sequential({"image": Affine(1.0)})
