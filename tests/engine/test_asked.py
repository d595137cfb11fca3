"""Settings as people give them: in their range, or refused in a sentence."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from blockprop.engine.asked import real, text, texts, whole
from blockprop.errors import SettingError

WILD: list[Any] = [None, "", " ", "4", 2.5, True, math.nan, math.inf, [1], (), {}, 1j, torch.ones(2), torch.tensor(2.5)]
"""What is no whole number."""


@pytest.mark.parametrize("count", [3, np.int64(3), torch.tensor(3)])
def test_a_whole_number_of_any_kind(count: Any) -> None:
    assert whole("steps", count, 0) == 3
    assert type(whole("steps", count, 0)) is int


@pytest.mark.parametrize("wild", [*WILD, -1, 11, 10**30], ids=repr)
def test_what_is_no_whole_number_in_range(wild: Any) -> None:
    with pytest.raises(SettingError, match=r"^steps: expected a whole number from 0 to 10, came "):
        whole("steps", wild, 0, 10)


@pytest.mark.parametrize("number", [0.5, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5])])
def test_a_number_of_any_kind(number: Any) -> None:
    assert real(number, "a rate above 0", above=0) == 0.5
    assert type(real(number, "a rate above 0", above=0)) is float


@pytest.mark.parametrize("wild", [one for one in WILD if not isinstance(one, float | torch.Tensor)], ids=repr)
def test_what_is_no_number(wild: Any) -> None:
    with pytest.raises(SettingError, match=r"^expected a rate, came "):
        real(wild, "a rate")


@pytest.mark.parametrize("wild", [0, 1, -0.1, 10**400, -math.inf, math.nan])
def test_numbers_out_of_range(wild: Any) -> None:
    with pytest.raises(SettingError, match=r"^expected a share between 0 and 1, came "):
        real(wild, "a share between 0 and 1", above=0, below=1)


@pytest.mark.parametrize("wild", [None, 3, "fc1", "", ["fc1", ""], ["fc1", None], torch.ones(2)], ids=repr)
def test_what_is_no_list_of_names(wild: Any) -> None:
    with pytest.raises(SettingError, match=r"^nodes: expected "):
        texts("nodes", wild, "fc1")


def test_names() -> None:
    assert texts("nodes", (name for name in ("a", "b")), "fc1") == ("a", "b")
    assert text("node", "a", "fc1") == "a"
