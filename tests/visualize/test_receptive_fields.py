"""Receptive fields by hand; a network without bounded ones says so."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import (
    Attention,
    Conv2d,
    Flatten,
    Flip,
    GlobalAvgPool,
    InstanceNorm,
    Jitter,
    Linear,
    MaxPool2d,
    Mean,
    Pad,
    ReLU,
    Resize,
    Transpose,
)
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import SettingError
from blockprop.visualize.receptive_fields import ReceptiveField, receptive_fields
from tests.visualize.tiled import chain


def test_receptive_fields_by_hand() -> None:
    """Convolution 5 with stride 2: place p sees the pixels 2 p − 2 … 2 p + 2."""
    rows, columns = receptive_fields(chain(Conv2d(3, 2, 5, 2, 2)), ["conv2d1"], 3)
    assert rows == columns == ReceptiveField(2, 1, 1, 3, {"conv2d1": 1})
    rows, columns = receptive_fields(
        chain(Conv2d(3, 2, (3, 1), padding=(1, 0)), MaxPool2d(2)), ["maxpool2d1", "conv2d1"], 3
    )
    assert rows == ReceptiveField(2, 1, 1, 3, {"maxpool2d1": 1, "conv2d1": 2})
    assert columns == ReceptiveField(2, 0, 0, 2, {"maxpool2d1": 1, "conv2d1": 2})


class Coordinates(Block):
    """x plus the number of its row: what a place gives depends on where it is."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x + torch.arange(x.shape[2], device=x.device).view(-1, 1), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y,)


class Hidden(Block):
    """x where it is above the mean of the pixels around it, else 0: comparing hides NaN."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        own = x > F.avg_pool2d(x, 7, 1, 3)
        return torch.where(own, x, 0), own

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y * saved,)


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ((GlobalAvgPool(),), "'globalavgpool1' gives 1 x 4.* no places"),
        ((Mean((2, 3), keep=True), Resize(scale=2)), "'resize1' gives 1 x 4 x 2 x 2 .* no places"),
        ((InstanceNorm(4),), r"'instancenorm1' \(InstanceNorm.* mixes all places"),
        ((InstanceNorm(4), ReLU(), Conv2d(4, 2, 3)), r"'instancenorm1' \(InstanceNorm.* mixes all places"),
        ((Flatten(), Linear(4 * 50 * 50, 3)), "takes no picture of another size.*'linear1'"),
        ((Resize((20, 20)),), "no places that follow the rows"),
        ((Transpose((0, 1, 3, 2)),), "no places that follow the rows"),
        ((Flip((2,)),), "or do not lie like these"),
        ((Pad((2, 2, 2, 2), "circular"), Conv2d(4, 2, 5)), "or do not lie like these"),
        ((Jitter(3),), r"'jitter1' \(Jitter.* draws anew"),
        ((Coordinates(),), "'coordinates1' gives something else for a piece"),
        ((Hidden(),), "'hidden1' gives something else for a piece"),
        ((Conv2d(4, 2, 3, 1031),), "does not follow the rows of the picture in even steps"),
    ],
    ids=lambda value: "+".join(type(block).__name__ for block in value) if isinstance(value, tuple) else "",
)
def test_what_has_no_tiles_says_so(blocks: tuple[Block, ...], told: str) -> None:
    network = chain(Conv2d(3, 4, 3, padding=1), *blocks)
    with pytest.raises(SettingError, match=told):
        receptive_fields(network, network.outputs, 3)


def test_attention_has_no_tiles() -> None:
    network = Network([Node("conv", Conv2d(3, 4, 3), ("x",)), Node("attend", Attention(), ("conv",) * 3)])
    with pytest.raises(SettingError, match=r"'attend' \(Attention.* mixes all places"):
        receptive_fields(network, ["attend"], 3)
