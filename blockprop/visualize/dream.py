"""DeepDream, or Inceptionism: a picture in which a network's layers find more and more of what they find anyway.

    run = dream(network, photo, "inception_4c")
    for step in run:
        print(step.step, step.value)
    run.picture()

From coarse to fine (octaves): what the network added to the small picture is scaled up and laid over the photograph's
finer details. Each step goes along the gradient, divided by its mean size. Pictures above `tile` pixels a side are
computed in tiles, see tiling.py.
"""

import math
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.errors import BlockpropError, NotFiniteError, SettingError, ShapeError
from blockprop.pictures.photos import picture as checked
from blockprop.pictures.photos import picture_channels
from blockprop.pictures.provenance import fingerprint
from blockprop.pictures.scaling import noise, scaled, zoomed
from blockprop.saving.files import StrPath
from blockprop.visualize.depth import at_depth, rectified
from blockprop.visualize.objectives.activity import Layers, Resemblance, for_tiles, objective_of, parsed
from blockprop.visualize.pipeline import Start
from blockprop.visualize.places import sizes
from blockprop.visualize.running import Run, digest
from blockprop.visualize.tiling import Outputs, Tile, Tiling

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
COARSEST = {"photo": 400, "noise": 100}
"""Pixels of the longer side at which the dream of a large picture begins, about; so that it has large things in it."""
RATES = {"photo": 1.5 / 255, "noise": 2 / 255}
SIDE = 512
"""Pixels of a dream from noise."""
TILE = 1024
MOST = 64
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
    seed: int = 0,
    preview_every: int | None = None,
    state: StrPath | None = None,
    resume: bool = False,
) -> "Dream":
    """Dream on a picture: an iterator of Step records; the last one has the picture, `picture()` gives it any time.

    network: takes pictures in 0…1; its weights stay fixed
    image: a picture, (n, channels, h, w) in 0…1, or "noise" of all sizes, then of `size`, (h, w) or one number for both
    layers: "node" or "node:channel", several of them, or {"node": weight}; by default what suits known networks,
        of others a rectifier at two thirds of their depth
    steps: at each octave; records are numbered over all octaves and frames
    guide: another picture, (1, channels, h', w'): what its features are like grows, instead of whatever is there
    octaves, octave_scale: so many sizes, each so much larger than the one before; by default 4 (from noise 6), and more
        if the picture is large
    rate: how far a step changes the picture's numbers, as the mean over them; by default 1.5 / 255 (from noise 2 / 255)
    jitter: the picture is shifted by up to so many pixels in each step, around its edges
    frames: a film of so many dreams, each on the one before, zoomed in by `zoom` and turned by `rotation` degrees;
        the record of each frame's last step has the picture
    tile: pixels of the sides of the pieces in which larger pictures are computed; memory depends on it. None: never.
    seed: of noise and shifts.   preview_every: so many steps.   state, resume: see `ascend`.
    Raises SettingError, GraphError and ShapeError for what makes no sense, NotFiniteError if something overflows.
    Source: Mordvintsev, Olah and Tyka 2015 (google/deepdream). Departures: values are means, and n pictures are scaled
    by each one's own gradient.
    """
    kind = "photo" if isinstance(image, Tensor) else "noise"
    rate = RATES[kind] if rate is None else rate
    _check(steps=steps, octaves=1 if octaves is None else octaves, frames=frames)
    ranges = {"octave_scale": (octave_scale, 1, MOST), "rate": (rate, 0, 1), "zoom": (zoom, 0, MOST)}
    for name, (number, low, high) in ranges.items():
        if not low < number <= high and not (name == "octave_scale" and octaves == 1):
            raise SettingError(f"expected {name} above {low}, up to {high}, came {number}")
    if not isinstance(jitter, int) or not 0 <= jitter <= LARGEST_SIDE:
        raise SettingError(f"expected a jitter of 0 to {LARGEST_SIDE} pixels, came {jitter!r}")
    if not math.isfinite(rotation) or (octaves is not None and octaves > MOST):
        raise SettingError(f"expected a finite rotation and at most {MOST} octaves, came {rotation} and {octaves}")
    picture = _start(network, image, size, seed)
    if octaves is None:
        scales = math.log(max(picture.shape[2:]) / COARSEST[kind], octave_scale)
        octaves = max(OCTAVES[kind], 1 + round(scales))
    if layers is None:
        layers = _default_layers(network, guide is not None)
    terms = parsed(layers, network)
    tiling = Tiling(network, [node for node, _, _ in terms], tile)
    settings = {
        "steps of an octave": steps,
        "octaves": [octaves, octave_scale],
        "rate": rate,
        "jitter": jitter,
        "film": [zoom, rotation],
        "tile": tile,
        "seed": seed,
    }
    guide = None if guide is None else checked(guide, network)
    _require_large_enough("the picture", tiling, picture)
    if guide is not None:
        _require_large_enough("the guide", tiling, guide)
    objective = objective_of(terms, tiling, picture, guide)
    run = Dream(network, tiling, objective, picture, settings, frames)
    return run.keeping(preview_every, state, resume)


class Dream(Run):
    """A run of `dream`."""

    def __init__(
        self,
        network: Network,
        tiling: Tiling,
        objective: Objective,
        picture: Tensor,
        settings: dict[str, Any],
        frames: int,
    ):
        self.octave_steps, self.rate, self.jitter = settings["steps of an octave"], settings["rate"], settings["jitter"]
        self.octaves, self.octave_scale = settings["octaves"]
        self.zoom, self.rotation = settings["film"]
        self.frame_steps = self.octave_steps * self.octaves
        super().__init__(self.frame_steps * frames)
        self.tiling, self.objective, self.settings = tiling, objective, settings
        self.base = self.now = picture
        self.sizes = [self._size(i) for i in reversed(range(self.octaves))]
        self.generator = torch.Generator().manual_seed(settings["seed"])
        self.network, self.begun = network, picture
        self._identity: dict[str, Any] | None = None
        self._require_sizes()

    def picture(self) -> Tensor:
        octave = max(self.step - 1, 0) % self.frame_steps // self.octave_steps
        if self.now.shape == self.base.shape:
            return self.now.clone()
        return scaled(self.now - self._octave_base(octave), *self.sizes[-1]).add_(self.base).clamp_(0, 1)

    def shows(self, step: int) -> bool:
        return super().shows(step) or step % self.frame_steps == 0

    @torch.no_grad()
    def advance(self) -> tuple[float, dict[str, float]]:
        octave, step = divmod(self.step % self.frame_steps, self.octave_steps)
        if step == 0:
            self._start_octave(octave)
        shift = torch.randint(-self.jitter, self.jitter + 1, (2,), generator=self.generator).tolist()
        # Only one copy of the picture at a time: it may be large. Nobody sees it while it is shifted.
        self.now = self.now.roll(shift, (2, 3))
        try:
            return self._climb()
        finally:
            self.now = self.now.roll([-shift[0], -shift[1]], (2, 3))

    def _climb(self) -> tuple[float, dict[str, float]]:
        """Change the picture along the gradient, in place."""
        whole = self.tiling.sizes(self.now)
        objective = for_tiles(self.objective, {node: height * width for node, (_, height, width) in whole.items()})
        parts: dict[str, float] = {}

        def seeds(_tile: Tile, outputs: Outputs) -> Seeds:
            tile_parts, tile_seeds = objective.parts(outputs)
            for title, value in tile_parts.items():
                parts[title] = parts.get(title, 0.0) + value
            return tile_seeds

        d = self.tiling.gradient(self.now, seeds)
        value = math.fsum(parts.values())
        size = torch.linalg.vector_norm(d, 1, (1, 2, 3), keepdim=True) / d[0].numel()
        if not math.isfinite(value) or not bool(size.isfinite().all()):
            raise NotFiniteError(f"step {self.step + 1}: the objective became {value}, its gradient {size.max():.3g}")
        if not bool(size.all()):
            raise SettingError(
                f"step {self.step + 1}: the gradient of {self.objective!r} is zero everywhere: these layers have "
                "nothing to say here; choose others, or another picture"
            )
        self.now.add_(d.mul_(self.rate / size)).clamp_(0, 1)
        return value, parts

    # Octaves and frames -----------------------------------------------------------------------------------------------

    def _start_octave(self, octave: int) -> None:
        if octave == 0:
            if self.step:
                self.base = zoomed(self.now, self.zoom, self.rotation)
            self.now = self._octave_base(0)
            return
        dreamed = self.now - self._octave_base(octave - 1)
        self.now = scaled(dreamed, *self.sizes[octave]).add_(self._octave_base(octave))

    def _octave_base(self, octave: int) -> Tensor:
        """What the frame began with, in the size of an octave."""
        return scaled(self.base, *self.sizes[octave])

    def _size(self, smaller: int) -> tuple[int, int]:
        height, width = self.base.shape[2:]
        factor = self.octave_scale**smaller
        return max(1, round(height / factor)), max(1, round(width / factor))

    def _require_sizes(self) -> None:
        """That even the smallest picture is large enough."""
        try:
            self.tiling.tiles(self.base)
            found = self.tiling.sizes(self.base.new_empty(1, self.base.shape[1], *self.sizes[0], device="meta"))
        except ShapeError as error:
            raise _too_small(self.sizes[0], error) from None
        for node, (_, height, width) in found.items():
            if not height or not width:
                raise _too_small(self.sizes[0], f"nothing is left at {node!r}")

    # The state --------------------------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        if self._identity is None:
            guided = [term for _, term in self.objective.terms if isinstance(term, Resemblance)]
            self._identity = {
                "network": fingerprint(self.network),
                "picture": digest(self.begun),
                "objective": repr(self.objective),
                **{f"guide at {term.node!r}": digest(term.features) for term in guided},
                **self.settings,
            }
        return self._identity

    def document(self) -> dict[str, Any]:
        return {
            "base": None if self.base is self.begun else self.base,
            "now": self.now,
            "generator": self.generator.get_state(),
        }

    def restore(self, document: dict[str, Any]) -> None:
        self.now = document["now"].to(self.base)
        self.base = self.base if document["base"] is None else document["base"].to(self.base)
        self.generator.set_state(document["generator"])


# What is asked for ----------------------------------------------------------------------------------------------------


def _start(network: Network, image: Start, size: int | tuple[int, int] | None, seed: int) -> Tensor:
    if isinstance(image, Tensor):
        if size is not None:
            raise SettingError("a dream has the size of its picture; size is for noise")
        picture = checked(image, network)
        return picture if picture.min() >= 0 and picture.max() <= 1 else picture.clamp(0, 1)
    if image != "noise":
        raise SettingError(f"expected a picture or 'noise' to dream on, came {image!r}")
    sides = (size, size) if isinstance(size, int) else (SIDE, SIDE) if size is None else size
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise SettingError(f"expected a size (height, width), or one number for both, came {size!r}")
    height, width = sides
    _check(height=height, width=width)
    return fitting(noise(picture_channels(network), height, width, seed), network)


def _default_layers(network: Network, guided: bool) -> Layers:
    known = GUIDED_LAYERS if guided else LAYERS
    for layer in known.get(network.meta.get("architecture", ""), ()):
        if layer in network.keys:
            return layer
    found = rectified(network)
    if not found:
        raise SettingError("say which layers of this network dream, layers=…: it has no ReLU whose output has h and w")
    return at_depth(found, GUIDED_DEPTH if guided else DEPTH)


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


def _too_small(size: tuple[int, int], why: BlockpropError | str) -> SettingError:
    height, width = size
    return SettingError(f"the smallest octave of {height} x {width} is too small for the network, use fewer: {why}")
