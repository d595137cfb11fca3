"""Activations with settings: kinks, limits, NaN, settings that make no sense."""

import math

import pytest
import torch

from blockprop.blocks import CELU, SELU, HardSigmoid, PReLU, Shrink, ThresholdedReLU
from blockprop.engine.block import Block
from blockprop.errors import SettingError, ShapeError
from tests.blocks.test_pointwise import slope


@pytest.mark.parametrize(
    ("block", "x", "expected"),
    [
        (CELU(0.5), 0.0, 1.0),
        (CELU(2.0), 2 * math.log(0.25), 0.25),
        (SELU(0.5, 3.0), 0.0, 1.5),
        (HardSigmoid(0.25, 0.5), 2.0, 0.0),
        (HardSigmoid(0.25, 0.5), 1.9, 0.25),
        (ThresholdedReLU(2.0), 2.0, 0.0),
        (ThresholdedReLU(-1.0), -0.5, 1.0),
        (Shrink(0.1, 1.0), 1.0, 0.0),
        (Shrink(0.1, 1.0), -1.0, 0.0),
        (Shrink(0.1, 1.0), -1.1, 1.0),
        (Shrink(0.1, 0.0), 0.0, 0.0),
    ],
    ids=lambda value: repr(value) if isinstance(value, Block) else None,
)
def test_slopes_by_hand(block: Block, x: float, expected: float) -> None:
    assert slope(block, x) == pytest.approx([expected], rel=1e-14)


@pytest.mark.parametrize(
    ("block", "left", "right"),
    [
        (CELU(0.3), 0, 1),
        (SELU(0.5, 3.0), 0, 3),
        (HardSigmoid(0.2), 0, 0),
        (ThresholdedReLU(), 0, 1),
        (Shrink(0.5, 0.5), 1, 1),
        (PReLU(shape=(1,)), 0.25, 1),
    ],
    ids=lambda value: repr(value) if isinstance(value, Block) else None,
)
def test_far_out_and_nan(block: Block, left: float, right: float) -> None:
    assert slope(block, -1e4, 1e4, dtype=torch.float32) == pytest.approx([left, right], abs=1e-7)
    assert math.isnan(float(block(torch.tensor([math.nan]))))
    assert slope(block, math.nan) != [0.0]


def test_slopes_of_any_shape_keep_infinities() -> None:
    block = PReLU(shape=(2, 1))
    block.weight = torch.tensor([[0.5], [2.0]])
    assert block(torch.tensor([[-math.inf, 1.0], [math.inf, -1.0]])).tolist() == [[-math.inf, 1.0], [math.inf, -2.0]]
    with pytest.raises(ShapeError, match=r"an input that \(2, 1\) slopes fit, came \(3, 4\)"):
        block(torch.zeros(3, 4))
    with pytest.raises(ShapeError, match="slopes fit"):
        block(torch.zeros(2))


@pytest.mark.parametrize(
    "make",
    [lambda: CELU(0.0), lambda: SELU(-1.0), lambda: SELU(1.0, 0.0), lambda: Shrink(lambd=-0.1)],
)
def test_nonsense_settings_are_refused(make) -> None:
    with pytest.raises(SettingError, match="came"):
        make()
