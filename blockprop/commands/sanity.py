"""`blockprop sanity`: whether a method's map changes when the network forgets what it has learned."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from blockprop.commands.console import counted
from blockprop.commands.making import Around, Made, deliver
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import (
    LookedAt,
    NetworkFile,
    Output,
    Photos,
    PictureSeed,
    Report,
    Side,
    picture_file,
    read_seen,
)
from blockprop.commands.saliency import MethodNames, Samples, method_names
from blockprop.engine.network import Network
from blockprop.pictures.picture_files import from_pixels
from blockprop.reports.curves import sanity_curves
from blockprop.reports.figures import png, svg
from blockprop.reports.page import Section
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.sanity import SanityRecord, sanity

EPILOG = "Example:\n\nblockprop sanity goose.jpg --network squeezenet.safetensors -m gradient -m guided"
COMPARED = ("gradient", "gradient_times_input", "guided", "grad_cam")
"""What is compared by default."""


def make_sanity(
    network: Network,
    around: Around,
    pictures: list[str],
    target: str = "top",
    methods: list[str] | None = None,
    samples: int = 20,
    side: int | None = None,
    output: str | None = None,
    seed: int = 0,
) -> Made:
    """A curve for each method: how alike its map stays to the original while layer after layer forgets."""
    methods = method_names(methods or list(COMPARED))
    seen = [read_seen(path, network, side) for path in pictures]
    found: dict[str, list[SanityRecord]] = {}
    for method in methods:
        settings = {passes: samples} if (passes := METHODS[method].passes) else {}
        runs = []
        for each in seen:
            records = sanity(network, each.x, target, method, output=output, seed=seed, **settings)
            runs.append(_watched(records, f"{method.replace('_', ' ')}, {each.name}", around.quiet))
        found[method] = _mean(runs)
    picture = from_pixels(decoded(png(sanity_curves(found))))
    rows = [["method", "after the first layer", "after half of them", "after all"]]
    for method, done in found.items():
        rows.append([method, *(f"{done[i].absolute:.2f}" for i in (0, (len(done) - 1) // 2, -1))])
    facts = {
        "layers": len(found[methods[0]]),
        "correlations": {method: [row.absolute for row in done] for method, done in found.items()},
    }
    text = (
        "Layer after layer, from the top down, the network's weights are put into a random order. A method whose map "
        "stays the same does not show what the network has learned (Adebayo et al. 2018)."
    )
    return Made(picture, facts, rows, [Section("What is measured", text, [svg(sanity_curves(found))])])


def _watched(records: Iterator[SanityRecord], title: str, quiet: bool) -> list[SanityRecord]:
    """All records, with a progress bar."""
    found = [next(records)]
    with counted(title, found[0].steps, quiet) as advance:
        advance(found[0].layer)
        for record in records:
            found.append(record)
            advance(record.layer)
    return found


def _mean(runs: Sequence[Sequence[SanityRecord]]) -> list[SanityRecord]:
    """The mean over several photographs."""
    return [
        rows[0]._replace(
            correlation=float(np.mean([row.correlation for row in rows])),
            absolute=float(np.mean([row.absolute for row in rows])),
        )
        for rows in zip(*runs, strict=True)
    ]


def decoded(content: bytes) -> np.ndarray:
    """The pixels of a PNG file's content, (h, w, 3)."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def sanity_(
    photos: Photos,
    network: NetworkFile = None,
    target: LookedAt = "top",
    method: MethodNames = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; by default PHOTO_sanity.png.")] = None,
    samples: Samples = 20,
    side: Side = None,
    output: Output = None,
    report: Report = None,
    own_blocks: Blocks = None,
    seed: PictureSeed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Draw how a method's map changes while the network's weights are randomized, layer after layer."""
    path = picture_file(out, f"{Path(photos[0]).stem}_sanity.png")
    settings = {
        "network": network,
        "pictures": photos,
        "target": target,
        "methods": method or list(COMPARED),
        "samples": samples,
        "side": side,
        "output": output,
        "seed": seed,
    }
    deliver("sanity", make_sanity, settings, Around(path, own_blocks, device, as_json), report, as_json)
