"""Content and style of a picture, as a network sees them: what its layers give, and how that goes together.

    objective = style_distance("relu3_1", [gram(features_of_a_painting)])
    value, seeds = objective.evaluate({"relu3_1": features})

Both are functions of sums over the places of one node's output, so that a picture's tiles add up to the whole:
`sums` of each tile, `judged` once, `seed` for each tile. All values are shares of what they are compared with, 1 being
as far off as a picture without any features; so weights mean the same at all sizes, layers and networks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.objectives import Objective, Seeds
from blockprop.errors import SettingError, ShapeError, shape

Region = tuple[slice, slice]
"""Rows and columns."""
EVERYTHING: Region = (slice(None), slice(None))


class SumsOverPlaces(Objective):
    """An objective of one node whose value is a function of sums over the places of its output (1, c, h, w)."""

    def __init__(self, node: str):
        self.node = node
        self.nodes = (node,)

    def sums(self, y: Tensor, places: Region = EVERYTHING) -> Tensor:
        """The sums over some places of the node's output; y holds these places alone."""
        raise NotImplementedError(f"{type(self).__name__} has no sums")

    def judged(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """(values, Σ values' derivative by the sums): one value for each thing that is compared with."""
        raise NotImplementedError(f"{type(self).__name__} has no formula")

    def seed(self, y: Tensor, d_sums: Tensor, places: Region = EVERYTHING) -> Tensor:
        """∂L/∂y at these places."""
        raise NotImplementedError(f"{type(self).__name__} has no seed")

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        y = outputs[self.node]
        values, d_sums = self.judged(self.sums(y))
        return values.sum(), {self.node: self.seed(y, d_sums)}


class ContentDistance(SumsOverPlaces):
    """How far a layer is from what it gave for another picture, see `content_distance`."""

    def __init__(self, node: str, features: Tensor):
        super().__init__(node)
        self.features = _one(features)
        self.scale = 1 / _not_zero(features.square().sum())

    def sums(self, y: Tensor, places: Region = EVERYTHING) -> Tensor:
        return (y - self._at(places, y)).square_().sum().view(1)

    def judged(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        return sums * self.scale, self.scale.expand(1)

    def seed(self, y: Tensor, d_sums: Tensor, places: Region = EVERYTHING) -> Tensor:
        return (y - self._at(places, y)).mul_(2 * d_sums)

    def _at(self, places: Region, y: Tensor) -> Tensor:
        own = self.features[(..., *places)]
        if own.shape != y.shape:
            raise ShapeError(f"{self!r}: expected {shape(own)}, the picture's own features, came {shape(y)}")
        return own

    def __repr__(self) -> str:
        return f"content_distance({self.node!r})"


class StyleDistance(SumsOverPlaces):
    """How far a layer's Gram matrix is from others, see `style_distance`."""

    def __init__(self, node: str, grams: Tensor, weights: Tensor, mask: Tensor | None):
        super().__init__(node)
        self.grams, self.mask = grams, mask
        self.total = None if mask is None else mask.sum()
        self.factors = weights.to(grams) / _not_zero(grams.square().sum((1, 2)))

    def sums(self, y: Tensor, places: Region = EVERYTHING) -> Tensor:
        features = self._features(y)
        masked = features if self.mask is None else features * self._mask(places, y)
        products = masked @ features.T
        return products if self.mask is not None else torch.cat([products.flatten(), _count(features)])

    def judged(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.grams.shape[1]
        total = self.total
        if total is None:  # the places have been counted on the way
            sums, total = sums[:-1].view(channels, channels), sums[-1]
        difference = sums / total - self.grams
        values = self.factors * difference.square().sum((1, 2))
        return values, (2 * self.factors.view(-1, 1, 1) * difference).sum(0) / total

    def seed(self, y: Tensor, d_sums: Tensor, places: Region = EVERYTHING) -> Tensor:
        features = self._features(y)
        # d_sums is symmetric. Written with places first, the result has y's own memory layout.
        factors = 2 * d_sums
        d = factors @ features if y.is_contiguous() else (features.T @ factors).T
        return (d if self.mask is None else d * self._mask(places, y)).view_as(y)

    def _features(self, y: Tensor) -> Tensor:
        """(channels, places)."""
        if y.dim() != 4 or len(y) != 1 or y.shape[1] != self.grams.shape[1]:
            raise ShapeError(f"{self!r}: expected (1, {self.grams.shape[1]}, h, w), came {shape(y)}")
        return y[0].flatten(1)

    def _mask(self, places: Region, y: Tensor) -> Tensor:
        assert self.mask is not None
        own = self.mask[places]
        if own.shape != y.shape[2:]:
            raise ShapeError(f"{self!r}: expected {shape(own)} places, as the mask has, came {shape(y)}")
        return own.flatten()

    def __repr__(self) -> str:
        return f"style_distance({self.node!r})"


def content_distance(node: str, features: Tensor) -> ContentDistance:
    """How far a layer is from what it gave for another picture:  L = |F − P|² / |P|².

    seed = 2 (F − P) / |P|²

    features P: what the node gave, (1, c, h, w), the shape of F. Where all of P is 0, L = |F|².
    Source: Gatys, Ecker and Bethge 2015, eqs. 1 and 2, divided by |P|² in place of 2, so that size does not matter.
    """
    return ContentDistance(node, features)


def style_distance(
    node: str, grams: Sequence[Tensor], weights: Sequence[float] | None = None, mask: Tensor | None = None
) -> StyleDistance:
    """How far a layer's Gram matrix is from that of other pictures:  L = Σ_s w_s |G − A_s|² / |A_s|².

    G = Σ_p m_p F_p F_pᵀ / Σ_p m_p     F_p (c,) the features at place p, m_p the mask there, 1 without one
    seed_p = 4 Σ_s w_s (G − A_s) F_p / |A_s|² · m_p / Σ m

    grams A_s: of each style, (c, c), see `gram`.   weights w_s: by default 1.   mask m: (h, w), the size of F.
    F: (1, c, h, w).   Where all of A_s is 0, its term is w_s |G|².
    Raises SettingError for a mask that is 0 everywhere or negative somewhere, ShapeError for what does not fit.
    Source: Gatys, Ecker and Bethge 2015, eqs. 3 to 6, where the sum over places is not divided by their number, so that
    both pictures need the same size, and |G − A|² is divided by 4 c² in place of |A|². With masks: Gatys et al. 2016
    (Controlling perceptual factors), eqs. 4 and 5, with their guidance channel squared, T² = m.
    """
    found = torch.stack(list(grams))
    if found.dim() != 3 or found.shape[1] != found.shape[2]:
        raise ShapeError(f"expected Gram matrices, (channels, channels) each, came {shape(found)}")
    if mask is not None:
        require_mask(mask)
    factors = [1.0] * len(found) if weights is None else list(weights)
    return StyleDistance(node, found, torch.tensor(factors, dtype=torch.float64), mask)


def gram(features: Tensor) -> Tensor:
    """The mean over all places of F_p F_pᵀ: (1, c, h, w) -> (c, c).  Source: Gatys, Ecker and Bethge 2015, eq. 3."""
    own = _one(features)[0].flatten(1)
    return own @ own.T / max(own.shape[1], 1)


def require_mask(mask: Tensor) -> None:
    """Raise unless it is (h, w), not negative, and above 0 somewhere."""
    if mask.dim() != 2:
        raise ShapeError(f"expected a mask of (h, w), came {shape(mask)}")
    if not bool(mask.isfinite().all()) or bool((mask < 0).any()) or not bool(mask.any()):
        raise SettingError("a mask must have no negative numbers, and be above 0 somewhere")


def _one(features: Tensor) -> Tensor:
    if features.dim() != 4 or len(features) != 1:
        raise ShapeError(f"expected the features of one picture, (1, channels, h, w), came {shape(features)}")
    return features


def _count(features: Tensor) -> Tensor:
    return features.new_tensor([features.shape[1]])


def _not_zero(squares: Tensor) -> Tensor:
    return torch.where(squares == 0, 1.0, squares)
