"""How sure networks are of a picture, by hand."""

import pytest
import torch

from blockprop.errors import SettingError, ShapeError
from blockprop.visualize.judging import judge
from tests.visualize.ascents import small


def test_judge_by_hand() -> None:
    network, picture = small(), torch.rand(1, 3, 16, 16)
    seen = judge(network, picture, "goose", network)
    levels = (picture * 255).round() / 255
    assert seen.confidence == pytest.approx(float(network(levels)[0, 2]), rel=1e-5)
    assert seen.transferred == seen.confidence
    assert seen.agrees is True
    assert 0 < seen.cropped < 1
    assert 0 < seen.jpeg < 1
    assert seen == judge(network, picture, 2, network)
    flat = torch.full((1, 3, 16, 16), 128 / 255)
    assert judge(network, flat, 1).jpeg == pytest.approx(judge(network, flat, 1).confidence, rel=1e-4)
    assert 0 < judge(small(1), picture[:, :1], 1).jpeg < 1


def test_only_classes_and_single_pictures_are_judged() -> None:
    with pytest.raises(SettingError, match="is none"):
        judge(small(), torch.rand(1, 3, 16, 16), "relu:3")
    with pytest.raises(ShapeError, match="one picture"):
        judge(small(), torch.rand(2, 3, 16, 16), 1)
