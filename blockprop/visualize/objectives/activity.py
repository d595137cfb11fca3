"""What a layer has to say, as an objective: all of it louder, or what is like another picture.

Both are sums over the places of a node's output, so that the tiles of a picture add up to the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, OfNode, WeightedSum
from blockprop.errors import GraphError, SettingError, ShapeError, no_such, shape
from blockprop.visualize.tiling import Tiling

Layers = str | Sequence[str] | Mapping[str, float]
"""A node or "node:channel", several of them, or weights of each."""
CHUNK = 2**22
"""Numbers of the table of products that are compared at once."""


class PlaceSum(OfNode):
    """A sum over the places of one node's output, and over the examples:  L = Σ_places f(y at the place) / numbers.

    node: gives y (n, c, h, w).   channel: the only one that counts; None for all.
    places: of the whole, if y is only a tile of it: the tiles' values add up to the whole's, as their seeds do.
    numbers: of one example's whole output, so that L does not grow with the picture; with a channel, of that alone.
    """

    adds_up = True
    node: str
    channel: int | None
    places: int | None

    def over_places(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(Σ_places f, its derivative by y), y with the channels that count."""
        raise NotImplementedError(f"{type(self).__name__} has no formula")

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        places = max(y[0, 0].numel(), 1) if self.places is None else self.places
        if self.channel is None:
            value, d_y = self.over_places(y)
            numbers = places * y.shape[1]
            return value / numbers, d_y / numbers
        channels = slice(self.channel, self.channel + 1)
        value, d_y = self.over_places(y[:, channels])
        seed = torch.zeros_like(y)
        seed[:, channels] = d_y / places
        return value / places, seed

    @property
    def title(self) -> str:
        """node, or node:channel."""
        return self.node if self.channel is None else f"{self.node}:{self.channel}"

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({self.title!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Activity(PlaceSum):
    """How much a layer has to say:  L = Σ_n ½ mean of y².

    seed = y / numbers: what is there already grows

    Source: Mordvintsev, Olah and Tyka 2015 (google/deepdream), objective_L2, up to the mean.
    """

    node: str
    channel: int | None = None
    places: int | None = None

    def over_places(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y.square().sum() / 2, y


@dataclass(frozen=True, eq=False, repr=False)
class Resemblance(PlaceSum):
    """How much a layer says what it says of another picture:  L = Σ_n Σ_places max_j y · g_j / numbers.

    seed = g_j / numbers, of the guide's place j whose features have the largest product with those of this place

    guide g: what the node gives for the other picture, (1, c, h', w'), with all channels.
    Raises ShapeError for a guide that does not fit.
    Source: Mordvintsev, Olah and Tyka 2015 (google/deepdream), objective_guide, whose gradient this is.
    """

    node: str
    guide: Tensor
    channel: int | None = None
    places: int | None = None

    def __post_init__(self) -> None:
        if self.guide.dim() != 4 or len(self.guide) != 1 or not self.guide.numel():
            raise ShapeError(f"expected the features of one picture, (1, c, h, w), came {shape(self.guide)}")

    @cached_property
    def features(self) -> Tensor:
        """Of the guide's places, in the channels that count: (c, h' · w')."""
        channels = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        return self.guide[0, channels].flatten(1).contiguous()

    def over_places(self, y: Tensor) -> tuple[Tensor, Tensor]:
        channels, count = self.features.shape
        if y.shape[1] != channels:
            raise ShapeError(f"the guide has {channels} channels at {self.node!r}, came {shape(y)}")
        features = self.features.to(y)
        d_y = torch.empty_like(y, memory_format=torch.contiguous_format)
        value = y.new_zeros(())
        step = max(CHUNK // count, 1)
        for example, d in zip(y.flatten(2), d_y.flatten(2), strict=True):
            for start in range(0, example.shape[1], step):
                products = features.T @ example[:, start : start + step]
                best, j = products.max(0)
                value = value + best.sum()
                d[:, start : start + step] = features[:, j]
        return value, d_y


def for_tiles(objective: Objective, places: Mapping[str, int]) -> Objective:
    """The same, for tiles of a whole that has so many places at each node."""
    terms: list[tuple[float, Objective]] = []
    for factor, term in objective.terms:
        assert isinstance(term, Activity | Resemblance)
        terms.append((factor, replace(term, places=places[term.node])))
    return WeightedSum(terms)


def parsed(layers: Layers, network: Network) -> list[tuple[str, int | None, float]]:
    """(node, channel, weight) of each. Raises GraphError for unknown nodes, SettingError for what is no layer."""
    return list(_parsed(layers, network))


def objective_of(
    terms: list[tuple[str, int | None, float]], tiling: Tiling, picture: Tensor, guide: Tensor | None = None
) -> Objective:
    """Their activity, or their resemblance to a guide, (1, channels, h', w').

    tiling: of these nodes.   Raises SettingError for a channel that a node lacks in a picture like this.
    """
    features = {} if guide is None else _features(tiling, guide)
    sizes = tiling.sizes(picture)
    objectives: list[tuple[float, Objective]] = []
    for node, channel, weight in terms:
        count = sizes[node][0]
        if channel is not None and channel >= count:
            raise SettingError(f"{node!r} has {count} channels, 0…{count - 1}; there is no channel {channel}")
        term = Activity(node, channel) if guide is None else Resemblance(node, features[node], channel)
        objectives.append((weight, term))
    return objectives[0][1] if len(objectives) == 1 and objectives[0][0] == 1 else WeightedSum(objectives)


def _features(tiling: Tiling, guide: Tensor) -> dict[str, Tensor]:
    if len(guide) != 1:
        raise ShapeError(f"expected one picture as a guide, came {len(guide)}")
    whole = {node: guide.new_empty(1, *size) for node, size in tiling.sizes(guide).items()}
    for tile, outputs in tiling.outputs(guide):
        for node, y in outputs.items():
            whole[node][(slice(None), slice(None), *tile.places[node])] = y
    return whole


def _parsed(layers: Layers, network: Network) -> Iterator[tuple[str, int | None, float]]:
    if isinstance(layers, str):
        layers = [layers]
    if not isinstance(layers, Mapping | Sequence):
        raise SettingError(f"expected a layer, several, or weights by layer, came {layers!r}")
    weights = layers if isinstance(layers, Mapping) else dict.fromkeys(layers, 1.0)
    if not weights:
        raise SettingError("expected at least one layer, or layers with weights, came none")
    nodes = [key for node in network.nodes for key in node.keys]
    for title, weight in weights.items():
        if not isinstance(title, str) or isinstance(weight, bool) or not isinstance(weight, int | float) or not weight:
            raise SettingError(f"expected layers by name, with weights other than 0, came {title!r}: {weight!r}")
        node, colon, channel = (title, "", "") if title in nodes else title.rpartition(":")
        if not colon:
            node = title
        if node not in nodes:
            raise GraphError(no_such("layer", node, nodes))
        if colon and not channel.isdecimal():
            raise SettingError(f"expected node or node:channel as layer, came {title!r}")
        yield node, int(channel) if colon else None, float(weight)
