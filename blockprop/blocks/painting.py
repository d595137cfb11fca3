"""What a picture is made from when it is found by optimization: frequencies, colors that vary independently, blur."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.precision import wide
from blockprop.errors import SettingError, ShapeError

IMAGENET_COLORS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))
"""A square root of the correlation of red, green and blue in ImageNet's photographs: rows of its largest columns."""


class Spectrum(Block):
    """A picture from the numbers of its spectrum:  y = ¼ irfft2(scale ∘ (x_re + i x_im)).

    d_x = ¼ twice ∘ scale ∘ (Re, Im) of rfft2(d_y)

    scale = 1 / max(f, 1 / max(height, width))^decay, with f the length of a frequency in periods per element: steps of
    one size in x then change coarse structures more than fine ones. Both transforms are orthonormal. twice is 1 for the
    columns that real pictures have once (the first, and the last of an even width), and 2 for all others, which stand
    for their mirror images, too. Half of the numbers in the columns of the first kind are redundant or without effect.

    x: (n, c, height, width // 2 + 1, 2)   y: (n, c, height, width)
    Raises ShapeError for another x, SettingError for sizes below 1.
    Source: Olah, Mordvintsev and Schubert 2017, "Feature Visualization", section "Preconditioning"; lucid's fft_image.
    """

    kind = "image"

    def __init__(self, height: int, width: int, decay: float = 1.0):
        if min(height, width) < 1:
            raise SettingError(f"height and width must be at least 1, came {height} and {width}")
        self.height, self.width, self.decay = height, width, decay

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 5 or x.shape[2:] != self._numbers:
            expected = ", ".join(map(str, self._numbers))
            raise ShapeError(f"expected (n, c, {expected}), came {tuple(x.shape)}")
        if not x.numel():
            return x.new_empty(*x.shape[:2], self.height, self.width), None
        numbers = wide(x)
        spectrum = torch.complex(numbers[..., 0], numbers[..., 1]) * self._scales()[0].to(numbers)
        # One axis after the other, as irfft2 does on the CPU: what cuFFT's transform of both at once makes of columns
        # that no real picture has is not defined, and here it must be what rfft2 is the adjoint of.
        columns = torch.fft.ifft(spectrum, dim=-2, norm="ortho")
        return torch.fft.irfft(columns, self.width, norm="ortho").to(x.dtype), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._spectrum(d_y, self._scales()[1]),)

    def of(self, image: Tensor) -> Tensor:
        """The x that this picture (n, c, height, width) is made from."""
        if image.dim() != 4 or image.shape[2:] != (self.height, self.width):
            raise ShapeError(f"expected (n, c, {self.height}, {self.width}), came {tuple(image.shape)}")
        return self._spectrum(image, 1 / self._scales()[0])

    def start(
        self, n: int, channels: int = 3, generator: torch.Generator | None = None, deviation: float = 0.01
    ) -> Tensor:
        """Normal random numbers as a first x, on the generator's device."""
        device = None if generator is None else generator.device
        return torch.randn((n, channels, *self._numbers), generator=generator, device=device).mul_(deviation)

    @property
    def _numbers(self) -> tuple[int, int, int]:
        return self.height, self.width // 2 + 1, 2

    def _scales(self) -> tuple[Tensor, Tensor]:
        return _scales(self.height, self.width, self.decay)

    def _spectrum(self, y: Tensor, scale: Tensor) -> Tensor:
        """scale ∘ rfft2(y) as pairs of real numbers."""
        if not y.numel():
            return y.new_empty(*y.shape[:2], *self._numbers)
        spectrum = torch.fft.rfft2(wide(y), norm="ortho")
        return torch.view_as_real((spectrum * scale.to(wide(y))).contiguous()).to(y.dtype)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)
def _scales(height: int, width: int, decay: float) -> tuple[Tensor, Tensor]:
    """(¼ scale, ¼ twice ∘ scale) of the half spectrum; on the CPU."""
    rows = torch.fft.fftfreq(height, dtype=torch.float64, device="cpu")
    columns = torch.fft.rfftfreq(width, dtype=torch.float64, device="cpu")
    scale = torch.hypot(rows[:, None], columns).clamp_(min=1 / max(height, width)).pow_(-decay).div_(4)
    twice = torch.full_like(columns, 2)
    twice[[0, -1] if width % 2 == 0 else [0]] = 1
    return scale, scale * twice


class ColorMix(Block):
    """Colors mixed from channels that vary independently:  y[n, :, p] = M x[n, :, p].

    d_x[n, :, p] = Mᵀ d_y[n, :, p]

    matrix: the rows of M, as many as columns; by default IMAGENET_COLORS divided by the length of the longest column,
    whose channels are roughly brightness, red against blue, and green against both.

    x, y: (n, c, h, w), of as many channels as M has rows
    With a Sigmoid behind it that makes 0…1 of its output, the way back is `unmixed(torch.logit(picture, 1e-3))`.
    Raises ShapeError for another x, SettingError for a matrix that is not square or has no inverse.
    Source: Olah, Mordvintsev and Schubert 2017, section "Preconditioning"; the numbers are lucid's.
    """

    kind = "image"

    def __init__(self, matrix: Sequence[Sequence[float]] | None = None):
        self.matrix = None if matrix is None else tuple(map(tuple, matrix))
        rows = IMAGENET_COLORS if self.matrix is None else self.matrix
        if {len(row) for row in rows} != {len(rows)}:
            raise SettingError(f"matrix must be square, came {matrix}")
        self._matrix = torch.tensor(rows, dtype=torch.float64, device="cpu")
        if matrix is None:
            self._matrix /= self._matrix.norm(dim=0).max()
        if not torch.linalg.cond(self._matrix) < 1e12:
            raise SettingError(f"matrix must have an inverse, came {matrix}")

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return self._mixed(self._matrix, x), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (self._mixed(self._matrix.t(), d_y),)

    def unmixed(self, image: Tensor) -> Tensor:
        """The x that gives these colors: M⁻¹ image."""
        return self._mixed(self._matrix.inverse(), image)

    def _mixed(self, matrix: Tensor, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != len(matrix):
            raise ShapeError(f"expected (n, {len(matrix)}, h, w), came {tuple(x.shape)}")
        return (matrix.to(x) @ x.flatten(2)).view(x.shape)


class Blur(Block):
    """A picture blurred by a Gaussian:  y = D_h⁻¹ T_h x T_w D_w⁻¹,   T[p, q] = exp(−(p − q)² / 2 sigma²).

    d_x = T_h D_h⁻¹ d_y D_w⁻¹ T_w

    T is 0 where |p − q| > radius, by default 4 sigma, rounded. D holds the sums of T's rows on its diagonal: the
    weights inside of the picture always add up to 1, so that a picture of one color stays what it is.

    x, y: (n, c, h, w)   Raises ShapeError for other axes, SettingError if sigma is not positive or the radius below 0.
    """

    kind = "image"

    def __init__(self, sigma: float, radius: int | None = None):
        if not 0 < sigma < math.inf or (radius is not None and radius < 0):
            raise SettingError(f"sigma must be positive and radius at least 0, came {sigma} and {radius}")
        self.sigma, self.radius = sigma, radius

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        if x.dim() != 4 or min(x.shape[2:]) < 1:
            raise ShapeError(f"expected (n, c, h, w), came {tuple(x.shape)}")
        y = self._spread(self._spread(wide(x), 3), 2)
        return y.mul_(self._shares(y)).to(x.dtype), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        d = wide(d_y)
        return (self._spread(self._spread(d * self._shares(d), 2), 3).to(d_y.dtype),)

    def _spread(self, x: Tensor, axis: int) -> Tensor:
        """T x along an axis, as a sum of shifted copies: a third of the time of a convolution for small sigmas."""
        size = x.shape[axis]
        weights = self._weights(size)
        y = x.contiguous() * weights[0]
        for k, weight in enumerate(weights[1:], 1):
            y.narrow(axis, k, size - k).add_(x.narrow(axis, 0, size - k), alpha=weight)
            y.narrow(axis, 0, size - k).add_(x.narrow(axis, k, size - k), alpha=weight)
        return y

    def _shares(self, like: Tensor) -> Tensor:
        """The inverse diagonals of D_h and D_w, multiplied out: (h, w)."""
        rows, columns = (self._sums(size).reciprocal() for size in like.shape[2:])
        return torch.outer(rows, columns).to(like)

    def _sums(self, size: int) -> Tensor:
        """The sums of T's rows: of what lies before each place, and of what lies behind it."""
        sums = torch.tensor(self._weights(size), dtype=torch.float64, device="cpu").cumsum(0)
        before = torch.cat([sums, sums[-1:].expand(size - len(sums))])
        return before + before.flip(0) - sums[0]

    def _weights(self, size: int) -> list[float]:
        """exp(−k² / 2 sigma²) for all distances k that there are, over their sum, so that nothing grows beyond x."""
        radius = round(4 * self.sigma) if self.radius is None else self.radius
        weights = [math.exp(-0.5 * (k / self.sigma) ** 2) for k in range(min(radius, size - 1) + 1)]
        total = 2 * sum(weights) - 1
        return [weight / total for weight in weights]
