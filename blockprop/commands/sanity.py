"""`blockprop sanity`: whether a method's map changes when the network forgets what it has learned."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from blockprop.commands.console import counted
from blockprop.commands.photos import SEEN_BEFORE, photographs, picture_file, read_seen, seen_notes
from blockprop.commands.picture_options import (
    OPTION_ONLY,
    Crop,
    LookedAt,
    MemoryOption,
    MethodNames,
    Output,
    Photos,
    Samples,
    Side,
)
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings

if TYPE_CHECKING:
    import numpy as np

    from blockprop.engine.network import Network
    from blockprop.visualize.attribution.sanity import SanityRecord


COMPARED = ("gradient", "gradient_times_input", "guided", "grad_cam")
"""What is compared by default."""
MEASURED = (
    "Layer after layer, from the top down, the network's weights are put into a random order. A method whose map "
    "stays the same does not show what the network has learned (Adebayo et al. 2018)."
)


@dataclass(frozen=True, kw_only=True)
class SanitySettings(PictureSettings):
    """Draw how a method's map changes while the network's weights are randomized, layer after layer."""

    command = "sanity"
    epilog = "Example:\n\nblockprop sanity goose.jpg --network squeezenet.safetensors -m gradient -m guided"
    least_pictures = 1

    pictures: Photos
    target: LookedAt = "top"
    methods: MethodNames = None
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The picture, or a folder for it; by default PHOTO_sanity.png."),
        OPTION_ONLY,
    ] = None
    samples: Samples = 20
    crop: Crop = None
    side: Side = None
    memory: MemoryOption = None
    output: Output = None

    @classmethod
    def of_file(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**SEEN_BEFORE, **settings}

    def completed(self) -> Self:
        out = picture_file(self.out, f"{Path(self.pictures[0]).resolve().stem}_sanity.png")
        pictures = photographs(self.pictures, self.as_json)
        return replace(self, pictures=pictures, out=out, methods=self.methods or list(COMPARED))

    def work(self) -> tuple[int, int]:
        return len(self.pictures) * len(self.methods or COMPARED) * self.samples, (self.side or 1) ** 2

    def make(self, network: Network, around: Surroundings) -> Made:
        """A curve for each method: how alike its map stays to the original while layer after layer forgets."""
        from blockprop.commands.memory import MemoryWatch
        from blockprop.commands.saliency_maps import method_names
        from blockprop.pictures.picture_files import from_pixels
        from blockprop.reports.curves import sanity_curves
        from blockprop.reports.figures import png, svg
        from blockprop.reports.page import Section
        from blockprop.visualize.attribution.methods import METHODS
        from blockprop.visualize.attribution.sanity import sanity

        methods = method_names(self.methods or list(COMPARED))
        seen = [read_seen(path, network, self.crop, self.side) for path in self.pictures]
        curves: dict[str, list[SanityRecord]] = {}
        memory = MemoryWatch(around.quiet, self.device)
        for method in methods:
            settings: dict[str, Any] = {"memory": self.memory, "expecting": memory.expect}
            settings |= {passes: self.samples} if (passes := METHODS[method].passes) else {}
            runs = []
            for photo in seen:
                run = sanity(network, photo.x, self.target, method, output=self.output, seed=self.seed, **settings)
                runs.append(_watched(run, f"{method.replace('_', ' ')}, {photo.name}", around.quiet))
            curves[method] = _mean(runs)
        rows = [["method", "after the first layer", "after half of them", "after all"]]
        for method, done in curves.items():
            rows.append([method, *(f"{done[i].absolute:.2f}" for i in (0, (len(done) - 1) // 2, -1))])
        facts = {
            "seen": {photo.name: photo.part for photo in seen},
            "layers": len(curves[methods[0]]),
            "correlations": {method: [row.absolute for row in done] for method, done in curves.items()},
            **memory.facts(),
        }
        picture = from_pixels(decoded(png(sanity_curves(curves))))
        sections = [Section("What is measured", MEASURED, [svg(sanity_curves(curves))])]
        return Made(picture, facts, rows, sections, notes=seen_notes(seen))


def _watched(records: Iterator[SanityRecord], title: str, quiet: bool) -> list[SanityRecord]:
    """All records, with a progress bar."""
    seen = [next(records)]
    with counted(title, seen[0].steps, quiet) as advance:
        advance(seen[0].layer)
        for record in records:
            seen.append(record)
            advance(record.layer)
    return seen


def _mean(runs: Sequence[Sequence[SanityRecord]]) -> list[SanityRecord]:
    """The mean over several photographs."""
    import numpy as np

    return [
        rows[0]._replace(
            correlation=float(np.mean([row.correlation for row in rows])),
            absolute=float(np.mean([row.absolute for row in rows])),
        )
        for rows in zip(*runs, strict=True)
    ]


def decoded(content: bytes) -> np.ndarray:
    """The pixels of a PNG file's content, (h, w, 3)."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
