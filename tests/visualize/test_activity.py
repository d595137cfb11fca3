"""What dreams maximize: activity and resemblance, against autograd and by hand."""

from dataclasses import replace

import pytest
import torch

from blockprop.blocks import Affine, Conv2d
from blockprop.engine.sequential import Sequential
from blockprop.visualize.ascent import ascend
from blockprop.visualize.objectives.activity import CHUNK, Activity, Resemblance
from tests.visualize.dreams import by_autograd, photo


@pytest.mark.parametrize("channel", [None, 2])
@pytest.mark.parametrize("kind", ["activity", "resemblance"])
def test_objectives_by_autograd(kind: str, channel: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(2, 4, 5, 7, dtype=torch.float64, generator=generator)
    features = torch.randn(1, 4, 3, 6, dtype=torch.float64, generator=generator)
    objective = Activity("a", channel) if kind == "activity" else Resemblance("a", features, channel)
    value, seeds = objective.evaluate({"a": y})
    expected, d_y = by_autograd(objective, y)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(seeds["a"], d_y, rtol=1e-12, atol=1e-15)
    tile = replace(objective, places=35)
    parts = [tile.of(rows) for rows in y.split((2, 3), 2)]
    assert float(sum(part for part, _ in parts)) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(torch.cat([seed for _, seed in parts], 2), d_y, rtol=1e-12, atol=1e-15)


def test_resemblance_by_hand() -> None:
    """Place (1, 0) fits the guide's first place better, place (0, 2) its second one."""
    guide = torch.tensor([[2.0, 0.0], [0.0, 3.0]]).view(1, 2, 1, 2)
    y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 2, 1, 2)
    value, seeds = Resemblance("a", guide).evaluate({"a": y})
    assert float(value) == (2 + 6) / 4
    assert seeds["a"].flatten().tolist() == [0.5, 0, 0, 0.75]


def test_many_places_are_compared_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    y, features = torch.rand(1, 3, 20, 20), torch.rand(1, 3, 10, 10)
    value, seeds = Resemblance("a", features).evaluate({"a": y})
    assert CHUNK > 100 * 400
    monkeypatch.setattr("blockprop.visualize.objectives.activity.CHUNK", 100 * 7)
    again, same = Resemblance("a", features).evaluate({"a": y})
    assert float(again) == pytest.approx(float(value))
    assert torch.equal(seeds["a"], same["a"])


def test_an_activity_is_an_objective_like_others() -> None:
    network = Sequential({"image": Affine(1.0), "conv": Conv2d(3, 2, 3)})
    steps = list(ascend(network, photo(8, 8), Activity("conv") - 0.5 * Activity("conv", 1), 3, 0.01))
    assert steps[-1].value > steps[0].value
    assert list(steps[0].parts) == ["activity('conv')", "-0.5 * activity('conv:1')"]
