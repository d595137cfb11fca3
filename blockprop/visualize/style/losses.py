"""The loss of a style transfer and its gradient, for one size of the picture: one function picture -> Point."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.objectives import OfNode, Seeds
from blockprop.visualize.objectives.gram import (
    Region,
    SumsOverPlaces,
    content_distance,
    gram,
    style_distance,
)
from blockprop.visualize.objectives.penalties import total_variation
from blockprop.visualize.style.quasi_newton import Point
from blockprop.visualize.tiles import Tile
from blockprop.visualize.tiling import Outputs, Tiling

CONTENT, VARIATION, RANGE = "content", "total variation", "range"
"""Names of parts of the loss; the others are the styles' own."""

Pending = list[tuple[SumsOverPlaces, Tensor]]
"""What a node's seed is made of: an objective, and the derivative by its sums."""


@dataclass(frozen=True)
class Weights:
    """What is compared, and how much it counts.

    content_layers, style_layers: weights by node, made to add up to 1.
    content, style, variation, range: factors of the losses.
    """

    content_layers: Mapping[str, float]
    style_layers: Mapping[str, float]
    content: float
    style: float
    variation: float
    range: float = 0.0

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.style_layers, *self.content_layers)))


@dataclass(frozen=True)
class Aim:
    """A style picture of the right size, (1, 3, h, w); mask: (h, w) of the content's size."""

    name: str
    picture: Tensor
    weight: float
    mask: Tensor | None = None

    def __repr__(self) -> str:
        return brief_repr(self)


@dataclass(frozen=True, eq=False, repr=False)
class out_of_range(OfNode):
    """How far a picture's numbers lie outside of 0…1:  R = mean of e², with e = x − (x cut off at 0 and 1).

    seed = 2 e / numbers

    Without it, what is cut off in the end takes bright and dark details along.
    """

    node: str = "image"

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        excess = y - y.clamp(0, 1)
        return excess.square().mean(), excess.mul_(2 / max(y.numel(), 1))


class StyleLosses:
    """The weighted loss of a picture, by its parts, and its gradient:  losses(picture) -> Point.

    L = content Σ_l v_l ContentDistance_l + style Σ_s w_s Σ_l v_l StyleDistance_l,s + variation TV + range R

    Forward stops at the deepest layer that is compared, no weight gets a gradient, and what is compared with is
    computed once, here. Sums over places are taken first, over all tiles; what they say comes back with the second pass
    (the same one if there is one tile). A layer's seed is made when the error arrives there, and its output is
    forgotten then, so that memory stays below what the forward pass needs.
    tiling: of the compared nodes, apart.
    """

    def __init__(self, tiling: Tiling, content: Tensor, aims: Sequence[Aim], weights: Weights):
        self.tiling, self.weights = tiling, weights
        self.names = [aim.name for aim in aims]
        self.terms: list[tuple[SumsOverPlaces, float, tuple[str, ...]]] = []
        """(objective, factor, the part that each of its values belongs to)."""
        self._add_content(content)
        self._add_styles(content, aims)
        self.penalties: dict[str, tuple[float, OfNode]] = {
            VARIATION: (weights.variation, total_variation()),
            RANGE: (weights.range, out_of_range()),
        }

    def __call__(self, picture: Tensor) -> Point:
        parts = dict.fromkeys((CONTENT, *self.names, *self.penalties), 0.0)
        d = self._through_network(picture, parts)
        for name, (weight, penalty) in self.penalties.items():
            if weight:
                value, seed = penalty.of(picture, None)
                parts[name] = weight * float(value)
                d.add_(seed, alpha=weight)
        return Point(picture, math.fsum(parts.values()), parts, d)

    def _add_content(self, content: Tensor) -> None:
        layers = self.weights.content_layers if self.weights.content else {}
        for node, features in self._whole(content, tuple(layers)).items():
            self.terms.append(
                (content_distance(node, features), self.weights.content * layers[node], (CONTENT,)),
            )

    def _whole(self, picture: Tensor, nodes: tuple[str, ...]) -> dict[str, Tensor]:
        """The outputs of these nodes for a picture, put together from its tiles."""
        sizes = self.tiling.sizes(picture)
        # In the memory layout that prepared networks give, because subtracting from another one takes twice as long.
        layout = torch.channels_last
        wholes = {node: picture.new_empty(1, *sizes[node]).contiguous(memory_format=layout) for node in nodes}
        for tile, outputs in self.tiling.outputs(picture) if nodes else ():
            for node in nodes:
                wholes[node][(..., *tile.places[node])] = outputs[node]
        return wholes

    def _add_styles(self, content: Tensor, aims: Sequence[Aim]) -> None:
        """Those without a mask share their Gram matrices; each of the others has its own."""
        grams = {aim.name: self._grams(aim.picture) for aim in aims}
        sizes = self.tiling.sizes(content)
        groups = [[aim for aim in aims if aim.mask is None], *([aim] for aim in aims if aim.mask is not None)]
        for node, layer_weight in self.weights.style_layers.items():
            for group in groups:
                if not group or not self.weights.style:
                    continue
                distance = style_distance(
                    node,
                    [grams[aim.name][node] for aim in group],
                    [aim.weight for aim in group],
                    resized_mask(group[0].mask, *sizes[node][1:]),
                )
                self.terms.append((distance, self.weights.style * layer_weight, tuple(aim.name for aim in group)))

    def _grams(self, picture: Tensor) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        for _, outputs in self.tiling.outputs(picture):
            for node in self.weights.style_layers:
                y = outputs[node]
                if y.numel():
                    products = gram(y) * (y.shape[2] * y.shape[3])
                    sums[node] = sums[node] + products if node in sums else products
        sizes = self.tiling.sizes(picture)
        return {node: products / math.prod(sizes[node][1:]) for node, products in sums.items()}

    @torch.no_grad()
    def _through_network(self, picture: Tensor, parts: dict[str, float]) -> Tensor:
        """∂L/∂picture of all but the variation, whose parts are added on the way."""
        sums: list[Any] = [0.0] * len(self.terms)
        pending: dict[str, Pending] = {}

        def look(tile: Tile, outputs: Outputs) -> None:
            for i, (term, _, _) in enumerate(self.terms):
                if outputs[term.node].numel():
                    sums[i] = sums[i] + term.sums(outputs[term.node], tile.places[term.node])

        def seeds(tile: Tile, outputs: Outputs) -> Seeds:
            if not pending:
                pending.update(self._judged(sums, parts))
            return {node: _added(y, pending[node], tile.places[node]) for node, y in outputs.items()}

        return self.tiling.gradient(picture, seeds, look)

    def _judged(self, sums: Sequence[Tensor], parts: dict[str, float]) -> dict[str, Pending]:
        """Add to the parts what the sums say; return what to go back with, by node."""
        pending: dict[str, Pending] = {}
        for (term, factor, names), term_sums in zip(self.terms, sums, strict=True):
            values, d_sums = term.judged(term_sums)
            for name, value in zip(names, values.tolist(), strict=True):
                parts[name] += factor * value
            pending.setdefault(term.node, []).append((term, factor * d_sums))
        return pending


def _added(y: Tensor, pending: Pending, places: Region) -> Tensor:
    """The sum of a node's own seeds."""
    seed: Tensor | None = None
    for term, d_sums in pending:
        own = term.seed(y, d_sums, places)
        seed = own if seed is None else own.add_(seed)
    assert seed is not None
    return seed


def resized_mask(mask: Tensor | None, height: int, width: int) -> Tensor | None:
    """A mask in another size, that of a layer, say: each place the mean over its share of the picture."""
    if mask is None or mask.shape == (height, width):
        return mask
    return F.interpolate(mask[None, None], (height, width), mode="bilinear", antialias=True)[0, 0]
