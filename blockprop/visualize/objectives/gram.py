"""Content and style of a picture, as a network sees them: what its layers give, and how that goes together.

    objective = style_distance("relu3_1", [gram(features_of_a_painting)])
    value, seeds = objective.evaluate({"relu3_1": features})

Both are functions of sums over the places of one node's output, so that a picture's tiles add up to the whole:
`sums` of each tile, `judged` once, `seed` for each tile. All values are shares of what they are compared with, 1 being
as far off as a picture without any features; so weights mean the same at all sizes, layers and networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from blockprop.engine.objectives import OfNode
from blockprop.errors import SettingError, ShapeError, shape
from blockprop.visualize.tiles import Region

EVERYTHING: Region = (slice(None), slice(None))


class SumsOverPlaces(OfNode):
    """An objective of one node whose value is a function of sums over the places of its output (1, c, h, w)."""

    node: str

    def sums(self, y: Tensor, places: Region = EVERYTHING) -> Tensor:
        """The sums over some places of the node's output; y holds these places alone."""
        raise NotImplementedError(f"{type(self).__name__} has no sums")

    def judged(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """(values, Σ values' derivative by the sums): one value for each thing that is compared with."""
        raise NotImplementedError(f"{type(self).__name__} has no formula")

    def seed(self, y: Tensor, d_sums: Tensor, places: Region = EVERYTHING) -> Tensor:
        """∂L/∂y at these places."""
        raise NotImplementedError(f"{type(self).__name__} has no seed")

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        values, d_sums = self.judged(self.sums(y))
        return values.sum(), self.seed(y, d_sums)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.node!r})"


@dataclass(frozen=True, eq=False, repr=False)
class content_distance(SumsOverPlaces):
    """How far a layer is from what it gave for another picture:  L = |F − P|² / |P|².

    seed = 2 (F − P) / |P|²

    features P: what the node gave, (1, c, h, w), the shape of F. Where all of P is 0, L = |F|².
    Source: Gatys, Ecker and Bethge 2015, eqs. 1 and 2, divided by |P|² in place of 2, so that size does not matter.
    """

    node: str
    features: Tensor

    def __post_init__(self) -> None:
        _require_one(self.features)

    @cached_property
    def scale(self) -> Tensor:
        """1 / |P|²."""
        return 1 / _not_zero(self.features.square().sum())

    def sums(self, y: Tensor, places: Region = EVERYTHING) -> Tensor:
        return (y - self._at(places, y)).square_().sum().view(1)

    def judged(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        return sums * self.scale, self.scale.expand(1)

    def seed(self, y: Tensor, d_sums: Tensor, places: Region = EVERYTHING) -> Tensor:
        return (y - self._at(places, y)).mul_(2 * d_sums)

    def _at(self, places: Region, y: Tensor) -> Tensor:
        there = self.features[(..., *places)]
        if there.shape != y.shape:
            raise ShapeError(f"{self!r}: expected {shape(there)}, the picture's own features, came {shape(y)}")
        return there


@dataclass(frozen=True, eq=False, repr=False)
class style_distance(SumsOverPlaces):
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

    node: str
    grams: Sequence[Tensor]
    weights: Sequence[float] | None = None
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        _require_squares(self.table)
        if self.mask is not None:
            require_mask(self.mask)

    @cached_property
    def table(self) -> Tensor:
        """All A_s: (styles, c, c)."""
        return torch.stack(list(self.grams))

    @cached_property
    def factors(self) -> Tensor:
        """w_s / |A_s|²: (styles,)."""
        weights = [1.0] * len(self.grams) if self.weights is None else list(self.weights)
        return torch.tensor(weights, dtype=torch.float64).to(self.table) / _not_zero(self.table.square().sum((1, 2)))

    @cached_property
    def total(self) -> Tensor | None:
        """Σ_p m_p."""
        return None if self.mask is None else self.mask.sum()

    def sums(self, y: Tensor, places: Region = EVERYTHING) -> Tensor:
        features = self._features(y)
        masked = features if self.mask is None else features * self._mask(places, y)
        products = masked @ features.T
        return products if self.mask is not None else torch.cat([products.flatten(), _count(features)])

    def judged(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        channels = self.table.shape[1]
        total = self.total
        if total is None:  # the places have been counted on the way
            sums, total = sums[:-1].view(channels, channels), sums[-1]
        difference = sums / total - self.table
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
        if y.dim() != 4 or len(y) != 1 or y.shape[1] != self.table.shape[1]:
            raise ShapeError(f"{self!r}: expected (1, {self.table.shape[1]}, h, w), came {shape(y)}")
        return y[0].flatten(1)

    def _mask(self, places: Region, y: Tensor) -> Tensor:
        assert self.mask is not None
        there = self.mask[places]
        if there.shape != y.shape[2:]:
            raise ShapeError(f"{self!r}: expected {shape(there)} places, as the mask has, came {shape(y)}")
        return there.flatten()


def gram(features: Tensor) -> Tensor:
    """The mean over all places of F_p F_pᵀ: (1, c, h, w) -> (c, c).  Source: Gatys, Ecker and Bethge 2015, eq. 3."""
    _require_one(features)
    f = features[0].flatten(1)
    return f @ f.T / max(f.shape[1], 1)


def require_mask(mask: Tensor) -> None:
    """Raise unless it is (h, w), not negative, and above 0 somewhere."""
    if mask.dim() != 2:
        raise ShapeError(f"expected a mask of (h, w), came {shape(mask)}")
    if not bool(mask.isfinite().all()) or bool((mask < 0).any()) or not bool(mask.any()):
        raise SettingError("a mask must have no negative numbers, and be above 0 somewhere")


def _require_one(features: Tensor) -> None:
    if features.dim() != 4 or len(features) != 1:
        raise ShapeError(f"expected the features of one picture, (1, channels, h, w), came {shape(features)}")


def _require_squares(grams: Tensor) -> None:
    if grams.dim() != 3 or grams.shape[1] != grams.shape[2]:
        raise ShapeError(f"expected Gram matrices, (channels, channels) each, came {shape(grams)}")


def _count(features: Tensor) -> Tensor:
    return features.new_tensor([features.shape[1]])


def _not_zero(squares: Tensor) -> Tensor:
    return torch.where(squares == 0, 1.0, squares)
