"""Dropout beyond the common checks: shares, independence, masks that are drawn again."""

import math

import pytest
import torch
from torch import Tensor

from blockprop.blocks import (
    Dropout,
)


def dropout(probability: float, seed: int = 3) -> Dropout:
    block = Dropout(probability)
    block.generator = torch.Generator().manual_seed(seed)
    return block


@pytest.mark.parametrize("probability", [0.0, 0.5])
def test_dropout_in_evaluation_hands_on_the_tensors_themselves(probability: float) -> None:
    x, block = torch.randn(3, 4), Dropout(probability)
    y, saved = block.forward(x)
    assert y is x
    assert saved is None
    assert block.propagate(saved, x)[0] is x


@pytest.mark.parametrize("probability", [0.001, 0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_expectation(probability: float) -> None:
    """Five standard deviations of a share of 400,001 elements; both halves of each drawn 64 bits are looked at."""
    count = 400_001
    mask = dropout(probability).mask(torch.ones(count))
    for part in (mask, mask[::2], mask[1::2]):
        deviation = 5 * math.sqrt(probability * (1 - probability) / part.numel())
        assert float((part == 0).double().mean()) == pytest.approx(probability, abs=deviation)
        assert float(part.double().mean()) == pytest.approx(1, abs=deviation / (1 - probability))
    assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - probability)])


def test_neighbors_are_dropped_independently() -> None:
    kept = dropout(0.3).mask(torch.ones(400_000)).sign()
    for shift in (1, 2, 624):
        together = float((kept[shift:] * kept[:-shift]).double().mean())
        assert together == pytest.approx(0.49, abs=5 * math.sqrt(0.49 * 0.51 / 400_000) * 2)


def test_the_same_seed_gives_the_same_mask_and_another_seed_another() -> None:
    x = torch.ones(2, 3, 8, 8)

    def drop(seed: int, x: Tensor = x) -> Tensor:
        return dropout(0.5, seed).forward(x, training=True)[0]

    assert torch.equal(drop(3), drop(3))
    assert not torch.equal(drop(3), drop(4))
    assert torch.equal(drop(3), drop(3, x.to(memory_format=torch.channels_last)))
    assert torch.equal(drop(3).double(), drop(3, x.double()))
    torch.manual_seed(5)
    first = Dropout().mask(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout().mask(x), first)


def test_two_draws_of_one_generator_differ_and_go_back_through_their_own_mask() -> None:
    block, x = dropout(0.5), torch.ones(100)
    (first, first_saved), (second, second_saved) = (block.forward(x, training=True) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(block.propagate(first_saved, x)[0], first)
    assert torch.equal(block.propagate(second_saved, x)[0], second)


@pytest.mark.parametrize("probability", [1.0, 1 - 1e-12, 1e-12])
def test_probabilities_next_to_certainty(probability: float) -> None:
    mask = dropout(probability).mask(torch.ones(1000))
    assert torch.isfinite(mask).all()
    assert mask.sum() == (1000 if probability < 0.5 else 0)
