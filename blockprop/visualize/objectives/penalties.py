"""Penalties: what a picture that is made for a network should have little of. They are subtracted from its score.

    objective = score(network, "goose") - 10 * l2() - 5 * total_variation()

All but diversity are sums over the examples: each picture of a batch has the gradient that it would have alone. Those
of pictures are means over a picture's numbers, so that their factors fit all sizes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.objectives import OfNode
from blockprop.engine.precision import wide
from blockprop.errors import SettingError, ShapeError, shape
from blockprop.visualize.objectives.score_kinds import by_class


@dataclass(frozen=True, eq=False, repr=False)
class l2(OfNode):
    """How far a picture is from gray:  L = Σ_n mean of (I_n − ½)², the mean over the picture's numbers.

    seed = 2 (I − ½) / numbers of one picture

    I: (n, …)   center: in place of ½.
    Source: Simonyan, Vedaldi and Zisserman 2013, eq. 1, whose pictures have the mean color 0.
    """

    adds_up = True
    node: str = "image"
    center: float = 0.5

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        difference, count = wide(y) - self.center, max(y[:1].numel(), 1)
        return (difference.square().sum() / count).to(y.dtype), (difference * (2 / count)).to(y.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class total_variation(OfNode):
    """How rough a picture is:  L = Σ_n mean of s^(power / 2),  s = (I[y + 1, x] − I[y, x])² + (I[y, x + 1] − I[y, x])².

    seed: each difference d passes  power · s^(power / 2 − 1) · d / numbers  to its second pixel, and minus that
    to its first; 0 where s is 0.

    I: (n, c, h, w); what would reach over the border counts as 0, and the mean is over all c h w.
    power: at least 1. With 1 sharp edges cost as much as slopes, with 2 they cost more.
    Raises ShapeError for other axes, SettingError for a smaller power.
    Source: Mahendran and Vedaldi 2015, eq. 4.
    """

    adds_up = True
    node: str = "image"
    power: float = 2.0

    def __post_init__(self) -> None:
        if self.power < 1:
            raise SettingError(f"power must be at least 1, came {self.power}")

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        if y.dim() != 4:
            raise ShapeError(f"{self!r} expected pictures (n, c, h, w), came {shape(y)}")
        count = max(y[:1].numel(), 1)
        down, right = F.pad(y.diff(dim=2), (0, 0, 0, 1)), F.pad(y.diff(dim=3), (0, 1))
        s = down.square() + right.square()
        value = s.pow(self.power / 2).sum() / count
        factor = torch.where(s == 0, 0.0, s.pow(self.power / 2 - 1)) * (self.power / count)
        d_down, d_right = factor * down, factor * right
        seed = -(d_down + d_right)
        seed[:, :, 1:] += d_down[:, :, :-1]
        seed[:, :, :, 1:] += d_right[:, :, :, :-1]
        return value, seed


@dataclass(frozen=True, eq=False, repr=False)
class diversity(OfNode):
    """How alike the pictures of a batch are to a layer: the mean of cos(G_a, G_b) over all pairs a ≠ b of pictures.

    G = F Fᵀ, the Gram matrix of a picture's features F (c, places), g = G / |G|, and s the sum of g over k pictures:
    L = (|s|² − k) / (k (k − 1))
    seed = 2 d_G F  with  d_G = (u − g (g · u)) / |G|,  u = 2 (s − g) / (k (k − 1))

    F: (n, c, …)   groups: the batch consists of so many runs of equal length; only pictures of one run are compared,
    and the value is the sum over the runs. A single picture, and features that are all 0, are like nothing: 0.
    Raises ShapeError for other axes and runs that do not fit, SettingError for groups below 1.
    Source: Olah, Mordvintsev and Schubert 2017, section "Diversity", where its negative is the term.
    """

    node: str
    groups: int = 1

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise SettingError(f"groups must be at least 1, came {self.groups}")

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        if y.dim() < 3 or len(y) % self.groups:
            raise ShapeError(f"{self!r} expected (n, c, places), n a multiple of {self.groups}, came {shape(y)}")
        k = len(y) // self.groups
        if k < 2:
            return y.new_zeros(()), torch.zeros_like(y)
        features = y.flatten(2)
        gram = features @ features.transpose(1, 2)
        norm = torch.linalg.vector_norm(gram, dim=(1, 2), keepdim=True)
        g = torch.where(norm == 0, 0.0, gram / norm)
        runs = g.unflatten(0, (self.groups, k))
        total, pairs = runs.sum(1, keepdim=True), k * (k - 1)
        value = (total.square().sum() - g.square().sum()) / pairs
        u = ((total - runs) * (2 / pairs)).flatten(0, 1)
        d_gram = torch.where(norm == 0, 0.0, (u - g * (g * u).sum((1, 2), keepdim=True)) / norm)
        return value, (2 * d_gram @ features).view(y.shape)

    def __repr__(self) -> str:
        return f"diversity({self.node!r})"


@dataclass(frozen=True, eq=False, repr=False)
class doubt(OfNode):
    """How unsure a network is of a class:  L = Σ_n −log softmax(y_n)_c, the cross-entropy, summed over the examples.

    seed = softmax(y) − onehot(c)

    The score of a class is high where those of similar classes are high, too. This pushes back whichever is the
    highest, and does nothing as soon as the class itself is.

    node: gives y, the scores of the classes before softmax, (n, classes), or (n, classes, places), then their mean.
    numbers: the class c of each example, or of each of so many runs of equal length; for None there is no doubt.
    Raises ShapeError if the examples do not fit, SettingError for numbers outside of the classes.
    """

    adds_up = True
    node: str
    numbers: Sequence[int | None]

    def of(self, y: Tensor, target: None = None) -> tuple[Tensor, Tensor]:
        if not self.numbers or len(y) % len(self.numbers):
            raise ShapeError(f"{self!r} has {len(self.numbers)} classes, which do not fit {len(y)} examples")
        seed = torch.zeros_like(y)
        scores, d_scores = by_class(y), by_class(seed)
        value, places = y.new_zeros(()), max(math.prod(scores.shape[2:]), 1)
        run = len(y) // len(self.numbers)
        for i, number in enumerate(self.numbers):
            if number is None:
                continue
            if not 0 <= number < scores.shape[1]:
                raise SettingError(f"{self.node!r} has {scores.shape[1]} classes, so there is no class {number}")
            rows = slice(i * run, (i + 1) * run)
            log_p = scores[rows].flatten(2).mean(2).log_softmax(1) if scores.dim() > 2 else scores[rows].log_softmax(1)
            value = value - log_p[:, number].sum()
            d = log_p.exp()
            d[:, number] -= 1
            d_scores[rows] = d.view(*d.shape, *[1] * (scores.dim() - 2)) / places
        return value, seed

    def __repr__(self) -> str:
        return f"doubt({', '.join(map(str, self.numbers))})"
