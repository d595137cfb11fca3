"""No block depends on the order of memory, not even on strides that say nothing."""

import pytest
import torch

from blockprop import Sequential, check_network, mean_squared_error
from blockprop.blocks import BatchNorm2d, Linear, Transpose
from tests.cases import CASES, Case
from tests.trust.layouts import differences, differences_of_weights


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=str)
def test_any_order_of_memory_gives_the_same(case: Case) -> None:
    for dtype in (torch.float64, torch.float32):
        for difference in differences(case, dtype, trials=3):
            raise AssertionError(str(difference))


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=str)
def test_any_order_of_memory_of_the_weights_gives_the_same(case: Case) -> None:
    """As weights have it that are cut out of larger ones."""
    for dtype in (torch.float64, torch.float32):
        for difference in differences_of_weights(case, dtype, trials=12):
            raise AssertionError(str(difference))


def test_batch_norm_of_pictures_one_pixel_high_before_a_transposition() -> None:
    torch.manual_seed(0)
    network = Sequential(BatchNorm2d(5), Transpose((0, 3, 2, 1)), Linear(5, 3))
    x, target = torch.randn(6, 5, 1, 4), torch.randn(6, 4, 1, 3)
    check_network(network, x, objective=mean_squared_error(), target=target, training=True).verify()
