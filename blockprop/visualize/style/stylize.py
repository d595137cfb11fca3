"""Artistic style: a picture with the content of a photograph and the style of paintings.

    run = stylize(network, photo, painting, size=512)
    for record in run:
        print(record.step, record.value, record.parts)
    run.picture()

From coarse to fine: each size starts from the picture of the one before, enlarged.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import SettingError, ShapeError, shape, suggestion
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.pictures.photos import picture as checked
from blockprop.preparing.budget import bytes_named
from blockprop.saving.files import StrPath
from blockprop.saving.resumable import Keeping
from blockprop.visualize.objectives.gram import require_mask
from blockprop.visualize.pipeline import Start
from blockprop.visualize.style.layers import LayerWeights, default_layers, weights_of
from blockprop.visualize.style.losses import CONTENT, RANGE, VARIATION, Weights
from blockprop.visualize.style.quasi_newton import HISTORY, kept_type
from blockprop.visualize.style.run import Style, Stylization
from blockprop.visualize.tiling import TILE
from blockprop.visualize.updates import OPTIMIZERS, Optimizer

COLORS = ("style", "matched", "luminance")
FACTOR = 2**0.5
"""Of the sides, from one size to the next."""
COARSEST = 180
"""Pixels of the longer side below which there is no coarser size. Smaller ones are painted over more boldly."""
FROM_NOISE = 1 / 15
"""How much less style counts by default from noise, where nothing but its own loss brings the content in."""
MOST_SCALES = 64
LARGEST_RATE = 1e6
LARGEST_HISTORY = 2**27
"""Bytes that L-BFGS may remember, and write to the state; of large pictures LEAST_HISTORY pairs in any case."""
LEAST_HISTORY = 5


def stylize(
    network: Network,
    content: Tensor,
    styles: Tensor | Style | Sequence[Tensor | Style],
    size: int | None = None,
    steps: int | Sequence[int] = 100,
    *,
    content_weight: float = 1.0,
    style_weight: float | None = None,
    total_variation: float = 1.0,
    range_weight: float = 100.0,
    content_layers: LayerWeights | None = None,
    style_layers: LayerWeights | None = None,
    start: Start = "content",
    colors: str = "style",
    optimizer: Optimizer = "lbfgs",
    rate: float = 0.02,
    history: int | None = None,
    scales: int | None = None,
    details: float = 0.5,
    tile: int | None = TILE,
    seed: int = 0,
    preview_every: int | None = None,
    state: StrPath | None = None,
    resume: bool = False,
    memory: int | str | None = None,
) -> "Stylization":
    """Paint a photograph in the style of other pictures:  arg min content + style + total variation.

    Returns the run, an iterator of PictureRecords; `picture()` gives the picture at any time. See StyleLosses for the
    loss; a record's value is that of the picture after the step, the lower, the better.

    network: takes pictures in 0…1; its weights stay fixed
    content: (1, 3, h, w) in 0…1.   styles: a picture, a `Style`, or several of them
    size: pixels of the result's longer side; by default those of the content
    steps: at each size, or a list, coarsest size first; records are numbered over all sizes
    content_weight, style_weight, total_variation, range_weight: factors of the losses, at least 0; that of style by
        default as suits the network, from noise a fifteenth of it. The last one is for numbers outside of 0…1, which
        are cut off in the end.
    content_layers, style_layers: "node", several of them, or {"node": weight}; see layers.py for the defaults
    start: "content", "noise" or a picture, which is brought to the coarsest size
    colors: those of the "style"; "matched": the styles get the content's mean and covariance of colors before; or
        "luminance": only brightness is painted, the colors are the content's
    optimizer: "lbfgs", see quasi_newton.py; one of updates.OPTIMIZERS, or a function that makes one of torch.optim
    rate: of the optimizers but L-BFGS, which finds its own.   history: pairs of pictures that L-BFGS
        remembers, by default 20, or fewer of large ones: 128 MiB of them, but 5 at least
    scales: so many sizes, each √2 times as large as the one before; by default all of at least 180 pixels
    details: so much of the content's finer details a picture gets when it is enlarged. With 0 the content loses them,
        with 1 they may shine through the paint, but the loss falls faster.
    tile: pixels of the sides of the pieces in which larger pictures are computed.   None: never
    memory: what a step may take beside the weights, in bytes or as "500 MB": tiles become as small as that asks for
    seed: of the noise.   preview_every: so many steps.   state, resume: see `ascend`.
    Raises SettingError, GraphError and ShapeError for what makes no sense, NotFiniteError if something overflows.
    Source: Gatys, Ecker and Bethge 2015. Departures: several sizes, the losses' normalization (objectives/gram.py).
    """
    content = _checked(content, network, "the content")
    _require_color(colors)
    named = _named([_checked_style(style, network, content) for style in _listed(styles)])
    default = default_layers(network, required=content_layers is None or style_layers is None)
    weights = _weights(
        network,
        default.content if content_layers is None else content_layers,
        default.style if style_layers is None else style_layers,
        content_weight=content_weight,
        style_weight=default.style_weight * _share(start) if style_weight is None else style_weight,
        total_variation=total_variation,
        range_weight=range_weight,
    )
    sizes = _sizes(content, size, scales)
    counts = list(steps) if isinstance(steps, Sequence) else [steps] * len(sizes)
    if len(counts) != len(sizes) or any(not isinstance(count, int) or count < 1 for count in counts):
        raise SettingError(f"expected steps of at least 1, or {len(sizes)} such numbers, one a size; came {steps!r}")
    if history is None:
        history = _suitable_history(sizes[-1], torch.finfo(kept_type(content.dtype)).bits // 8)
    _require_optimizer(optimizer, rate, history, details)
    settings = {
        "sizes": [list(pair) for pair in sizes],
        "steps": counts,
        "colors": colors,
        "optimizer": optimizer if isinstance(optimizer, str) else "custom",
        "rate": rate,
        "history": history,
        "details": details,
        "seed": seed,
        "tile": tile,
        **({} if memory is None else {"memory": bytes_named(memory)}),
    }
    first = _start(start, network, content)
    keep = Keeping(state, resume)
    return Stylization(network, content, named, weights, first, settings, optimizer, preview_every, keep)


def _checked(picture: Tensor, network: Network, title: str) -> Tensor:
    picture = checked(picture, network)
    if picture.shape[:2] != (1, 3):
        raise ShapeError(f"expected one picture (1, 3, h, w) as {title}, came {shape(picture)}")
    return picture.clamp(0, 1)


def _listed(styles: Tensor | Style | Sequence[Tensor | Style]) -> list[Style]:
    several = [styles] if isinstance(styles, Tensor | Style) else list(styles)
    if not several:
        raise SettingError("expected at least one style")
    return [style if isinstance(style, Style) else Style(style) for style in several]


def _checked_style(style: Style, network: Network, content: Tensor) -> Style:
    for name, number in (("weight", style.weight), ("scale", style.scale)):
        if not 0 < number < math.inf:
            raise SettingError(f"the {name} of a style must be above 0, came {number}")
    mask = style.mask
    if mask is not None:
        mask = mask[0, 0] if mask.dim() == 4 and mask.shape[:2] == (1, 1) else mask
        if mask.shape != content.shape[2:]:
            expected = " x ".join(map(str, content.shape[2:]))
            raise ShapeError(f"expected a mask of the content's size, {expected}, came {shape(mask)}")
        mask = fitting(mask.float(), network)
        require_mask(mask)
    return Style(_checked(style.picture, network, "a style"), style.weight, style.scale, mask, style.name)


def _named(styles: Sequence[Style]) -> list[Style]:
    """With names, each its own, and weights that add up to 1."""
    names = [style.name or f"style {i}" for i, style in enumerate(styles, 1)]
    if len(set(names)) < len(names) or {CONTENT, VARIATION, RANGE} & set(names):
        raise SettingError(f"expected a name of its own for each style, and not that of another loss; came {names}")
    total = sum(style.weight for style in styles)
    return [
        Style(style.picture, style.weight / total, style.scale, style.mask, name)
        for style, name in zip(styles, names, strict=True)
    ]


def _weights(network: Network, content_layers: LayerWeights, style_layers: LayerWeights, **factors: float) -> Weights:
    for name, weight in factors.items():
        if not 0 <= weight < math.inf:
            raise SettingError(f"{name} must be at least 0, came {weight}")
    content, style = factors["content_weight"], factors["style_weight"]
    if not content and not style:
        raise SettingError("content_weight and style_weight are both 0: nothing would be painted")
    return Weights(
        weights_of(content_layers, network, "content_layers") if content else {},
        weights_of(style_layers, network, "style_layers") if style else {},
        content,
        style,
        factors["total_variation"],
        factors["range_weight"],
    )


def _sizes(content: Tensor, longest: int | None, scales: int | None) -> list[tuple[int, int]]:
    """(h, w), the coarsest first."""
    height, width = content.shape[2:]
    longest = max(height, width) if longest is None else longest
    counts = {"size": (longest, MOST_PIXELS), "scales": (1 if scales is None else scales, MOST_SCALES)}
    for name, (number, most) in counts.items():
        if not isinstance(number, int) or not 1 <= number <= most:
            raise SettingError(f"expected {name} as a whole number from 1 to {most:,}, came {number!r}")
    if scales is None:
        scales = 1 + max(0, math.floor(math.log(longest / COARSEST, FACTOR) + 1e-9))
    sides = [longest / FACTOR**i for i in reversed(range(scales))]
    ratio = max(height, width)
    if (height * longest / ratio) * (width * longest / ratio) > MOST_PIXELS:
        raise SettingError(f"a longer side of {longest} pixels makes more than {MOST_PIXELS:,} in all; choose less")
    return [(max(1, round(height * side / ratio)), max(1, round(width * side / ratio))) for side in sides]


def _start(start: Start, network: Network, content: Tensor) -> Tensor | None:
    """The picture to start from; None for noise."""
    if isinstance(start, Tensor):
        return _checked(start, network, "the start")
    if start not in ("content", "noise"):
        raise SettingError(f"start must be content, noise or a picture, came {start!r}")
    return content if start == "content" else None


def _share(start: Start) -> float:
    return FROM_NOISE if isinstance(start, str) and start == "noise" else 1.0


def _suitable_history(size: tuple[int, int], bytes_of_number: int) -> int:
    return max(LEAST_HISTORY, min(HISTORY, LARGEST_HISTORY // (2 * 3 * math.prod(size) * bytes_of_number)))


def _require_optimizer(optimizer: Optimizer, rate: float, history: int, details: float) -> None:
    if optimizer != "lbfgs" and isinstance(optimizer, str) and optimizer not in OPTIMIZERS:
        raise SettingError(f"there is no optimizer {optimizer!r}{suggestion(optimizer, ['lbfgs', *OPTIMIZERS])}")
    if not 0 < rate <= LARGEST_RATE:
        raise SettingError(f"expected a rate above 0, up to {LARGEST_RATE}, came {rate}")
    if not isinstance(history, int) or history < 1 or not math.isfinite(details):
        raise SettingError(
            f"expected a history of a whole number from 1 up and a finite number for details, came {history!r} and "
            f"{details}"
        )


def _require_color(colors: str) -> None:
    if colors not in COLORS:
        raise SettingError(f"colors must be one of {', '.join(COLORS)}, came {colors!r}")
