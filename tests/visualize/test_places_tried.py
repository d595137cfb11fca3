"""Tokens in another order than the picture has, and borders around tensors with channels last."""

import pytest
import torch
from torch import Tensor, nn

from blockprop import from_torch
from blockprop.blocks import Linear, Pad, Transpose
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import SettingError
from blockprop.visualize.attribution.cam import place_of
from blockprop.visualize.attribution.places import LAST, TOKENS, PictureAxes
from blockprop.visualize.attribution.question import Question
from blockprop.visualize.objectives.scores import score


class Windowed(nn.Module):
    """Tokens of 8 x 8 patches, window by window of 4 x 4 if asked for, then a norm and what mixes them."""

    def __init__(self, by_windows: bool) -> None:
        super().__init__()
        self.by_windows = by_windows
        self.embed, self.norm = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16)
        self.mix, self.head = nn.Linear(64, 64), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x)
        if self.by_windows:
            y = y.reshape(-1, 16, 2, 4, 2, 4).permute(0, 1, 2, 4, 3, 5)
        tokens = y.flatten(2).transpose(1, 2)
        tokens = self.norm(tokens + 0.1 * self.mix(tokens.transpose(1, 2)).transpose(1, 2))
        return self.head(tokens.mean(1))


@pytest.mark.parametrize("node", [None, "norm"])
def test_tokens_in_another_order_are_refused(node: str | None) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 32)
    network = from_torch(Windowed(False).eval(), x)
    assert place_of(Question(network, score(network, 1)), x, node) == ("norm", PictureAxes(TOKENS, (8, 8)))
    network = from_torch(Windowed(True).eval(), x)
    with pytest.raises(SettingError, match=r"'norm' do not lie as .* what stands at \(\d, \d\) of 8 x 8 comes from"):
        place_of(Question(network, score(network, 1)), x, node)
    # Who says the grid is believed.
    assert place_of(Question(network, score(network, 1)), x, "norm", (8, 8))[1].grid == (8, 8)


def test_a_border_around_what_has_channels_last_leaves_them_last() -> None:
    nodes = [
        Node("last", Transpose((0, 2, 3, 1)), ("x",)),
        Node("linear", Linear(3, 7), ("last",)),
        Node("pad", Pad((0, 0, 0, 2, 0, 2)), ("linear",)),
    ]
    network = Network(nodes)
    x = torch.rand(1, 3, 10, 12)
    shape = network(x).shape
    assert shape == (1, 12, 14, 7)
    assert place_of(Question(network, score(network, "pad")), x, "pad") == ("pad", PictureAxes(LAST, (12, 14)))
