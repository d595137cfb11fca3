"""DeepDream, or Inceptionism: a picture in which a network's layers find more and more of what they find anyway.

    run = dream(network, photo, "inception_4c")
    for record in run:
        print(record.step, record.value)
    run.picture()

From coarse to fine (octaves): what the network added to the small picture is scaled up and laid over the photograph's
finer details. Each step goes along the gradient, divided by its mean size. Pictures above `tile` pixels a side are
computed in tiles, see tiling.py. The run itself is in dream_run.py.
"""

import math
from typing import Any

from torch import Tensor

from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import SettingError, ShapeError
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.pictures.photos import picture as checked
from blockprop.pictures.photos import picture_channels
from blockprop.pictures.scaling import noise, with_longest
from blockprop.saving.files import StrPath
from blockprop.saving.resumable import Keeping
from blockprop.visualize.depth import at_depth, spatial_rectifiers
from blockprop.visualize.dream_run import Dream, fitting_octaves
from blockprop.visualize.objectives.activity import Layers, objective_of, parsed
from blockprop.visualize.pipeline import Start
from blockprop.visualize.places import sizes
from blockprop.visualize.tiling import TILE, Tiling

LAYERS = {
    "googlenet": ("inception_4c",),
    "squeezenet1_1": ("fire7",),
    "vgg19": ("relu4_4", "relu3_1"),
    "pictures": ("stage4",),
}
"""What dreams well, by meta["architecture"]; the first that the network has."""
GUIDED_LAYERS = {
    "googlenet": ("inception_3b",),
    "squeezenet1_1": ("fire5",),
    "vgg19": ("relu3_1",),
    "pictures": ("stage3",),
}
DEPTH, GUIDED_DEPTH = 0.65, 0.45
"""How deep, as parts of all rectifiers, the layers of other networks lie."""
OCTAVES = {"photo": 4, "noise": 6}
COARSEST_SIDE = {"photo": 400, "noise": 100}
"""Pixels of the longer side at which the dream of a large picture begins, about; so that it has large things in it."""
RATES = {"photo": 1.5 / 255, "noise": 2 / 255}
DREAM_SIDE = 512
"""Pixels of a dream from noise."""
MOST_OCTAVES = 64
"""Octaves, or times larger than the one before."""
LARGEST_SIDE = 2**20


def dream(
    network: Network,
    image: Start = "noise",
    layers: Layers | None = None,
    size: int | tuple[int, int] | None = None,
    steps: int = 10,
    *,
    guide: Tensor | None = None,
    octaves: int | None = None,
    octave_scale: float = 1.4,
    rate: float | None = None,
    jitter: int = 32,
    frames: int = 1,
    zoom: float = 1.05,
    rotation: float = 0.0,
    tile: int | None = TILE,
    memory: int | str | None = None,
    seed: int = 0,
    preview_every: int | None = None,
    state: StrPath | None = None,
    resume: bool = False,
) -> "Dream":
    """Dream on a picture: an iterator of PictureRecords; the last one has the picture, `picture()` gives it any time.

    network: takes pictures in 0…1; its weights stay fixed
    image: a picture, (n, channels, h, w) in 0…1, or "noise" of all sizes
    size: of noise, (h, w) or one number for both; of a picture the pixels of its longer side, to which it is scaled,
        also beyond its own: the network then adds the details that it lacks
    layers: "node" or "node:channel", several of them, or {"node": weight}; by default what suits known networks,
        of others a rectifier at two thirds of their depth
    steps: at each octave; records are numbered over all octaves and frames
    guide: another picture, (1, channels, h', w'): what its features are like grows, instead of whatever is there
    octaves, octave_scale: so many sizes, each so much larger than the one before; by default 4 (from noise 6), more if
        the picture is large, and no more than the network takes
    rate: how far a step changes the picture's numbers, as the mean over them; by default 1.5 / 255 (from noise 2 / 255)
    jitter: the picture is shifted by up to so many pixels in each step, around its edges
    frames: a film of so many dreams, each on the one before, zoomed in by `zoom` and turned by `rotation` degrees;
        the record of each frame's last step has the picture
    tile: pixels of the sides of the pieces in which larger pictures are computed; memory depends on it. None: never.
    memory: what a step may take beside the weights, in bytes or as "500 MB": tiles become as small as that asks for
    seed: of noise and shifts.   preview_every: so many steps.   state, resume: see `ascend`.
    Raises SettingError, GraphError and ShapeError for what makes no sense, NotFiniteError if something overflows.
    Source: Mordvintsev, Olah and Tyka 2015 (google/deepdream). Departures: values are means, and n pictures are scaled
    by each one's own gradient.
    """
    kind = "photo" if isinstance(image, Tensor) else "noise"
    rate = RATES[kind] if rate is None else rate
    _check(steps=steps, octaves=1 if octaves is None else octaves, frames=frames)
    ranges = {"octave_scale": (octave_scale, 1, MOST_OCTAVES), "rate": (rate, 0, 1), "zoom": (zoom, 0, MOST_OCTAVES)}
    for name, (number, low, high) in ranges.items():
        if not low < number <= high and not (name == "octave_scale" and octaves == 1):
            raise SettingError(f"expected {name} above {low}, up to {high}, came {number}")
    if not isinstance(jitter, int) or not 0 <= jitter <= LARGEST_SIDE:
        raise SettingError(f"expected a jitter of 0 to {LARGEST_SIDE} pixels, came {jitter!r}")
    if not math.isfinite(rotation) or (octaves is not None and octaves > MOST_OCTAVES):
        raise SettingError(
            f"expected a finite rotation and at most {MOST_OCTAVES} octaves, came {rotation} and {octaves}"
        )
    picture = _start(network, image, size, seed)
    if layers is None:
        layers = _default_layers(network, guide is not None)
    terms = parsed(layers, network)
    tiling = Tiling(network, [node for node, _, _ in terms], tile, memory)
    _require_large_enough("the picture", tiling, picture)
    if octaves is None:
        scales = math.log(max(picture.shape[2:]) / COARSEST_SIDE[kind], octave_scale)
        octaves = fitting_octaves(tiling, picture, max(OCTAVES[kind], 1 + round(scales)), octave_scale)
    settings = {
        "steps": steps,
        "octaves": octaves,
        "octave_scale": octave_scale,
        "rate": rate,
        "jitter": jitter,
        "zoom": zoom,
        "rotation": rotation,
        "tile": tile,
        "seed": seed,
    }
    guide = None if guide is None else checked(guide, network)
    if guide is not None:
        _require_large_enough("the guide", tiling, guide)
    if memory is not None:
        settings["memory"] = tiling.memory
    objective = objective_of(terms, tiling, picture, guide)
    return Dream(network, tiling, objective, picture, settings, frames, preview_every, Keeping(state, resume))


def _start(network: Network, image: Start, size: int | tuple[int, int] | None, seed: int) -> Tensor:
    if isinstance(image, Tensor):
        picture = _in_size(checked(image, network), size)
        return picture if picture.min() >= 0 and picture.max() <= 1 else picture.clamp(0, 1)
    if image != "noise":
        raise SettingError(f"expected a picture or 'noise' to dream on, came {image!r}")
    sides = (size, size) if isinstance(size, int) else (DREAM_SIDE, DREAM_SIDE) if size is None else size
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise SettingError(f"expected a size (height, width), or one number for both, came {size!r}")
    height, width = sides
    _check(height=height, width=width)
    return fitting(noise(picture_channels(network), height, width, seed), network)


def _in_size(picture: Tensor, longest: int | tuple[int, int] | None) -> Tensor:
    if longest is None:
        return picture
    if not isinstance(longest, int):
        raise SettingError(f"a picture keeps its proportions: expected size as its longer side, came {longest!r}")
    _check(size=longest)
    height, width = picture.shape[2:]
    if height * width * (longest / max(height, width)) ** 2 > MOST_PIXELS:
        raise SettingError(f"size={longest} makes more than the {MOST_PIXELS:,} pixels that a picture may have")
    return with_longest(picture, longest)


def _default_layers(network: Network, guided: bool) -> Layers:
    layers = GUIDED_LAYERS if guided else LAYERS
    for layer in layers.get(network.meta.get("architecture", ""), ()):
        if layer in network.keys:
            return layer
    rectifiers = spatial_rectifiers(network)
    if not rectifiers:
        raise SettingError("say which layers of this network dream, layers=…: it has no ReLU whose output has h and w")
    return at_depth(rectifiers, GUIDED_DEPTH if guided else DEPTH)


def _check(**counts: Any) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise SettingError(f"{name} must be a whole number of at least 1, came {count!r}")


def _require_large_enough(title: str, tiling: Tiling, picture: Tensor) -> None:
    height, width = picture.shape[2:]
    try:
        sizes(tiling.network, picture.shape[1], height, width)
    except ShapeError as error:
        raise SettingError(f"{title} of {height} x {width} pixels is too small for the network: {error}") from None
