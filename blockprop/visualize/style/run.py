"""A run of a style transfer: size after size, step after step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.fitting import first_not_finite, fitting
from blockprop.engine.network import Network
from blockprop.errors import NotFiniteError, SettingError, ShapeError
from blockprop.pictures.colors import luminance, matched_colors, matched_luminance, with_luminance
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.preparing.resident import Expected
from blockprop.saving.fingerprints import described, digest, fingerprint
from blockprop.saving.resumable import Keeping
from blockprop.saving.states import require_like
from blockprop.visualize.places import needed, sizes
from blockprop.visualize.running import PictureRun, weighed
from blockprop.visualize.style.losses import Aim, StyleLosses, Weights, resized_mask
from blockprop.visualize.style.quasi_newton import LBFGS, FirstOrder, Point
from blockprop.visualize.tiling import Tiling
from blockprop.visualize.updates import Optimizer

MORE_COPIES = 4
"""Of the picture, beside those that any gradient makes: a line search, its direction, and what these come from."""
GRAMS = 3
"""Copies of each Gram matrix: of the style, in a table, and the picture's."""
NOISE = 0.1
"""Standard deviation of the noise to start from, on gray."""


@dataclass(frozen=True)
class Style:
    """A picture whose style is wanted.

    picture: (1, 3, h, w) in 0…1.   weight: among several styles; they are made to add up to 1.
    scale: its size relative to the content's, 1 being as many pixels; larger ones have larger strokes.
    mask: (h, w) or (1, 1, h, w) in 0…1 and the content's size: where in the content it acts; None for everywhere.
    name: in the records; by default "style 1", "style 2", …
    """

    picture: Tensor
    weight: float = 1.0
    scale: float = 1.0
    mask: Tensor | None = None
    name: str = ""

    def __repr__(self) -> str:
        return brief_repr(self)


class Stylization(PictureRun):
    """A run of `stylize`. point: the picture as it is computed with, its loss and gradient, in the present size."""

    minimizes = True

    def __init__(
        self,
        network: Network,
        content: Tensor,
        styles: Sequence[Style],
        weights: Weights,
        start: Tensor | None,
        settings: dict[str, Any],
        optimizer: Optimizer,
        preview_every: int | None = None,
        keep: Keeping | None = None,
    ):
        self.counts, self.sizes, self.colors = settings["steps"], settings["sizes"], settings["colors"]
        self.content, self.styles, self.weights, self.settings = content, styles, weights, settings
        self.kind, self.start = optimizer, start
        self.network = network
        self.losses: StyleLosses | None = None
        self.point: Point | None = None
        self.optimizer = self._fresh_optimizer()
        self.tiling = Tiling(network, weights.nodes, settings["tile"], settings.get("memory"), apart=True)
        self._made_of = {
            "network": fingerprint(network),
            "content": digest(content),
            "styles": [
                [digest(s.picture), s.weight, s.scale, None if s.mask is None else digest(s.mask), s.name]
                for s in styles
            ],
            "start": "noise" if start is None else digest(start),
        }
        self._require_sizes()
        self.expected = self._expected()  # which refuses too little before anything is made
        super().__init__(sum(self.counts), preview_every, keep)

    def picture(self) -> Tensor:
        """(1, 3, h, w) in 0…1, in the final size."""
        x = self._first() if self.point is None else self.point.x
        return self._painted(x, *self.sizes[-1])

    def share(self, step: int) -> float:
        return weighed(step, self.counts, [height * width for height, width in self.sizes])

    def change(self) -> tuple[float, dict[str, float]]:
        number, step = self._place(self.step)
        if step == 0 or self.losses is None or self.point is None:
            self.enter(number, step)
        assert self.point is not None
        self.point = self.optimizer.step(self.point, self._evaluate)
        if not math.isfinite(self.point.value):
            raise NotFiniteError(f"step {self.step + 1}: the loss became {self.point.value}; try a smaller rate")
        return self.point.value, dict(self.point.parts)

    def _place(self, step: int) -> tuple[int, int]:
        """(number of the size, step at that size) of the step with this number, counted from 0."""
        for number, count in enumerate(self.counts):
            if step < count:
                return number, step
            step -= count
        return len(self.counts) - 1, self.counts[-1]

    @torch.no_grad()
    def enter(self, number: int, step: int = 0) -> None:
        """Prepare for a size; at its first step, bring the picture to it."""
        height, width = self.sizes[number]
        self.losses = None  # frees what the last size was compared with
        self.losses = self._losses(height, width)
        if step == 0:
            x = self._first() if self.point is None else self._enlarged(self.point.x, height, width)
            learned = self.optimizer
            self.optimizer = self._fresh_optimizer()
            if number and isinstance(learned, LBFGS) and isinstance(self.optimizer, LBFGS):
                self.optimizer.learn(learned, lambda pair: resized(pair, height, width))
            self.best_value = math.inf
            self.point = self._evaluate(x)
            if not math.isfinite(self.point.value) or not bool(self.point.d.isfinite().all()):
                culprit = first_not_finite(self.network, self._shown(x), training=False, updated=False)
                raise NotFiniteError(f"step {self.step + 1}: the loss or its gradient is not finite: {culprit}")

    def _enlarged(self, x: Tensor, height: int, width: int) -> Tensor:
        """A picture in the next size, with some of the finer details that the content has there."""
        content = resized(self.content, height, width)
        details = content - resized(resized(self.content, *x.shape[2:]), height, width)
        details = luminance(details) if x.shape[1] == 1 else details
        return resized(x, height, width) + self.settings["details"] * details

    def _losses(self, height: int, width: int) -> StyleLosses:
        content = resized(self.content, height, width)
        shown = luminance(content) if self.colors == "luminance" else content
        return StyleLosses(self.tiling, self._shown(shown), self.aims(height, width), self.weights)

    def aims(self, height: int, width: int) -> list[Aim]:
        """The styles as they are compared with a picture of this size."""
        content = resized(self.content, height, width)
        aims = []
        for style in self.styles:
            picture = resized(style.picture, *_style_size(style, height, width)).clamp(0, 1)
            if self.colors == "matched":
                picture = matched_colors(picture, content)
            elif self.colors == "luminance":
                picture = matched_luminance(luminance(picture), luminance(content))
            aims.append(Aim(style.name, self._shown(picture), style.weight, resized_mask(style.mask, height, width)))
        return aims

    def _first(self) -> Tensor:
        height, width = self.sizes[0]
        if self.start is not None:
            x = resized(self.start, height, width)
        else:
            generator = torch.Generator().manual_seed(self.settings["seed"])
            noise = torch.randn(1, 3, height, width, generator=generator).mul_(NOISE).add_(0.5)
            x = fitting(noise.clamp_(0, 1), self.network)
        return luminance(x) if self.colors == "luminance" else x

    @torch.no_grad()
    def _evaluate(self, x: Tensor) -> Point:
        assert self.losses is not None
        point = self.losses(self._shown(x))
        d = point.d if x.shape[1] == 3 else point.d.sum(1, keepdim=True)
        return Point(x, point.value, point.parts, d.contiguous())

    def _shown(self, x: Tensor) -> Tensor:
        """What the network sees."""
        return x if x.shape[1] == 3 else x.expand(1, 3, *x.shape[2:]).contiguous()

    def _painted(self, x: Tensor, height: int, width: int) -> Tensor:
        if x.shape[1] == 1:
            x = with_luminance(resized(self.content, height, width), resized(x, height, width))
        return resized(x, height, width).clamp(0, 1)

    @property
    def device(self) -> str:
        return self.content.device.type

    def identity(self) -> dict[str, Any]:
        weights = self.weights
        return {
            **self._made_of,
            "sizes (size=…, scales=…)": self.settings["sizes"],
            **{name: value for name, value in self.settings.items() if name != "sizes"},
            "optimizer": described(self.kind),
            "content_layers": described(list(weights.content_layers.items())),
            "style_layers": described(list(weights.style_layers.items())),
            "content_weight": weights.content,
            "style_weight": weights.style,
            "total_variation": weights.variation,
            "range_weight": weights.range,
        }

    def document(self) -> dict[str, Any]:
        assert self.point is not None
        x, value, parts, d = self.point
        return {"x": x, "value": value, "parts": dict(parts), "d": d, "optimizer": self.optimizer.state()}

    def restore_document(self, document: dict[str, Any]) -> None:
        number, _ = self._place(self.step - 1)
        channels = 1 if self.colors == "luminance" else 3
        x = fitting(self.content[:, :1], self.network).new_empty(1, channels, *self.sizes[number], device="meta")
        parts = dict.fromkeys(document["parts"], 0.0)
        pattern = {"x": x, "value": 0.0, "parts": parts, "d": x, "optimizer": None}
        require_like(document, pattern, "state")
        x, d = (fitting(document[name], self.network).clone() for name in ("x", "d"))
        self.point = Point(x, document["value"], document["parts"], d)
        self.losses = None
        self.optimizer = self._fresh_optimizer()
        self.optimizer.restore(document["optimizer"], x)

    def _fresh_optimizer(self) -> LBFGS | FirstOrder:
        if self.kind == "lbfgs":
            return LBFGS(self.settings["history"])
        return FirstOrder(self.kind, self.settings["rate"])

    def _besides(self) -> int:
        """Bytes at the finest size, beside what goes through the network."""
        height, width = self.sizes[-1]
        number, weights = self.content.element_size(), self.weights
        shapes = sizes(needed(self.network, weights.nodes), 3, height, width)
        features = sum(math.prod(shapes[node]) for node in weights.content_layers)
        grams = sum(shapes[node][1] ** 2 for node in weights.style_layers) * GRAMS * len(self.styles)
        pictures = (MORE_COPIES + len(self.styles)) * 3 * height * width
        kept = self.optimizer.kept_bytes(number) if isinstance(self.optimizer, LBFGS) else 0
        return number * (features + grams + pictures) + kept * 3 * height * width

    def _expected(self) -> Expected | None:
        """What a step takes at the finest size. SettingError if the memory is too little for that, or for a style."""
        if self.tiling.memory is None:
            return None
        self.tiling.besides = self._besides()
        pictures = [self.sizes[-1], *(_style_size(style, *self.sizes[-1]) for style in self.styles)]
        found = [self.tiling.expected(self.content.new_zeros(1, 3, *size)) for size in pictures]
        return found[0]

    def _require_sizes(self) -> None:
        """That everything is large enough for the network at the coarsest size, and at the finest not too large."""
        for style in self.styles:
            size = _style_size(style, *self.sizes[-1])
            if math.prod(size) > MOST_PIXELS:
                raise SettingError(
                    f"{style.name} would have {size[0]} x {size[1]} pixels, more than {MOST_PIXELS:,}; choose a "
                    "smaller style scale"
                )
        height, width = self.sizes[0]
        pictures = {"the content": (height, width)}
        pictures |= {style.name: _style_size(style, height, width) for style in self.styles}
        for title, size in pictures.items():
            try:
                node_sizes = sizes(self.tiling.network, 3, *size)
            except ShapeError as error:
                why = str(error)
            else:
                self.tiling.sizes(torch.empty(1, 3, *size, device="meta"))  # complains about nodes without h and w
                empty = [node for node in self.tiling.nodes if 0 in node_sizes[node]]
                why = f"nothing is left at {empty[0]!r}" if empty else ""
            if why:
                raise SettingError(
                    f"{title} of {size[0]} x {size[1]} pixels is too small for the network; use a larger size or "
                    f"scale, or fewer scales: {why}"
                )


def resized(picture: Tensor, height: int, width: int) -> Tensor:
    """A picture in another size (bicubic, smoothed where it shrinks); itself if it has the size."""
    if picture.shape[2:] == (height, width):
        return picture
    return F.interpolate(picture, (height, width), mode="bicubic", antialias=True)


def _style_size(style: Style, height: int, width: int) -> tuple[int, int]:
    """With as many pixels as the content has in this size, times scale²."""
    own_height, own_width = style.picture.shape[2:]
    factor = style.scale * math.sqrt(height * width / (own_height * own_width))
    return max(1, round(own_height * factor)), max(1, round(own_width * factor))
