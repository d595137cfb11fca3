"""Keeping a photograph's own colors in a painting's style.

Source of both ways: Gatys, Bethge, Hertzmann and Shechtman 2016, Preserving color in neural artistic style transfer.
"""

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue in the Y of YIQ (ITU-R BT.601)."""
LEAST = 1e-5
"""Variance that every color is given at least, so that a picture of a single color can be matched."""


def luminance(picture: Tensor) -> Tensor:
    """How bright each pixel is: (n, 3, h, w) -> (n, 1, h, w)."""
    weights = picture.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    return (picture * weights).sum(1, keepdim=True)


def with_luminance(picture: Tensor, y: Tensor) -> Tensor:
    """The picture with another luminance, y (n, 1, h, w), and its own I and Q: all three colors shift alike."""
    return picture + (y - luminance(picture))


def matched_luminance(y: Tensor, like: Tensor) -> Tensor:
    """y with the mean and standard deviation of another luminance (section 5.2)."""
    spread = like.std() / y.std().clamp_min(LEAST**0.5)
    return (y - y.mean()) * spread + like.mean()


def matched_colors(picture: Tensor, like: Tensor) -> Tensor:
    """The picture with another one's mean and covariance of colors:  A x + b for each pixel x.

    A = Σ_like^½ Σ^−½ with symmetric roots, b = μ_like − A μ   (section 4, eqs. 1 to 3, "image analogies" variant)

    picture, like: (1, 3, h, w); the result is cut off at 0 and 1.
    """
    mean, root, _ = _moments(like)
    own_mean, _, inverse = _moments(picture)
    matrix = root @ inverse
    pixels = matrix @ (picture[0].flatten(1).double() - own_mean) + mean
    return pixels.to(picture.dtype).view_as(picture).clamp_(0, 1)


def _moments(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mean (3, 1), covariance^½, covariance^−½) of a picture's colors."""
    pixels = picture[0].flatten(1).double()
    mean = pixels.mean(1, keepdim=True)
    variances, axes = torch.linalg.eigh(torch.cov(pixels, correction=0))
    spread = variances.clamp_min(LEAST).sqrt()
    return mean, axes @ spread.diag() @ axes.T, axes @ spread.reciprocal().diag() @ axes.T
