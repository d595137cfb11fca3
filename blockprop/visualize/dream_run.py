"""A run of a dream: frame after frame, octave after octave, step after step."""

import math
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.errors import BlockpropError, NotFiniteError, SettingError, ShapeError
from blockprop.pictures.scaling import scaled, zoomed
from blockprop.saving.fingerprints import digest, fingerprint
from blockprop.saving.resumable import Keeping
from blockprop.saving.states import require_like, set_generator
from blockprop.visualize.objectives.activity import Resemblance, for_tiles
from blockprop.visualize.running import PictureRun, weighed
from blockprop.visualize.tiles import Tile
from blockprop.visualize.tiling import Outputs, Tiling


class Dream(PictureRun):
    """A run of `dream`: for each frame of a film the octaves, coarse to fine, and in each some steps uphill."""

    def __init__(
        self,
        network: Network,
        tiling: Tiling,
        objective: Objective,
        picture: Tensor,
        settings: dict[str, Any],
        frames: int,
        preview_every: int | None = None,
        keep: Keeping | None = None,
    ):
        self.octave_steps, self.rate, self.jitter = settings["steps"], settings["rate"], settings["jitter"]
        self.octaves, self.octave_scale = settings["octaves"], settings["octave_scale"]
        self.zoom, self.rotation = settings["zoom"], settings["rotation"]
        self.frame_steps = self.octave_steps * self.octaves
        self.tiling, self.objective, self.settings = tiling, objective, settings
        self.base = self.now = picture
        self.sizes = [octave_size(picture, i, self.octave_scale) for i in reversed(range(self.octaves))]
        self.generator = torch.Generator().manual_seed(settings["seed"])
        self.network, self.begun = network, picture
        self._identity: dict[str, Any] | None = None
        self._require_sizes()
        self.expected = tiling.expected(picture)  # which refuses too little before anything is made
        super().__init__(self.frame_steps * frames, preview_every, keep)

    def picture(self) -> Tensor:
        octave = max(self.step - 1, 0) % self.frame_steps // self.octave_steps
        if self.now.shape == self.base.shape:
            return self.now.clone()
        return scaled(self.now - self._octave_base(octave), *self.sizes[-1]).add_(self.base).clamp_(0, 1)

    def share(self, step: int) -> float:
        frames, rest = divmod(step, self.frame_steps)
        pixels = [height * width for height, width in self.sizes]
        whole = frames + weighed(rest, [self.octave_steps] * self.octaves, pixels)
        return whole * self.frame_steps / self.steps

    def shows(self, step: int) -> bool:
        return super().shows(step) or step % self.frame_steps == 0

    @torch.no_grad()
    def change(self) -> tuple[float, dict[str, float]]:
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

    def _require_sizes(self) -> None:
        """That even the smallest picture is large enough."""
        try:
            self.tiling.tiles(self.base)
        except ShapeError as error:
            raise _too_small(self.sizes[0], error) from None
        require_octave(self.tiling, self.base, self.sizes[0])

    @property
    def device(self) -> str:
        return self.begun.device.type

    def identity(self) -> dict[str, Any]:
        if self._identity is None:
            guided = [term for _, term in self.objective.terms if isinstance(term, Resemblance)]
            self._identity = {
                "network": fingerprint(self.network),
                "picture (its file, or size=…)": digest(self.begun),
                "objective (layers=…, guide=…)": repr(self.objective),
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

    def restore_document(self, document: dict[str, Any]) -> None:
        octave = (self.step - 1) % self.frame_steps // self.octave_steps
        now = self.base.new_empty(*self.base.shape[:2], *self.sizes[octave], device="meta")
        base = None if document.get("base") is None else self.base
        require_like(document, {"base": base, "now": now, "generator": None}, "state")
        self.now = document["now"].to(self.base)
        self.base = self.base if document["base"] is None else document["base"].to(self.base)
        set_generator(self.generator, document["generator"], "generator of the state")


def octave_size(picture: Tensor, smaller: int, scale: float) -> tuple[int, int]:
    """(h, w) of a picture that was made smaller so many times."""
    height, width = picture.shape[2:]
    factor = scale**smaller
    return max(1, round(height / factor)), max(1, round(width / factor))


def require_octave(tiling: Tiling, picture: Tensor, size: tuple[int, int]) -> None:
    """That a picture of this size is large enough. Raises SettingError."""
    try:
        sizes = tiling.sizes(picture.new_empty(1, picture.shape[1], *size, device="meta"))
    except ShapeError as error:
        raise _too_small(size, error) from None
    for node, (_, height, width) in sizes.items():
        if not height or not width:
            raise _too_small(size, f"nothing is left at {node!r}")


def fitting_octaves(tiling: Tiling, picture: Tensor, octaves: int, scale: float) -> int:
    """So many octaves, or as many as are large enough for the network."""
    for fitting in range(octaves, 1, -1):
        with suppress(SettingError):
            require_octave(tiling, picture, octave_size(picture, fitting - 1, scale))
            return fitting
    return 1


def _too_small(size: tuple[int, int], why: BlockpropError | str) -> SettingError:
    height, width = size
    return SettingError(
        f"the smallest octave of {height} x {width} is too small for the network, use fewer, octaves=…: {why}"
    )
