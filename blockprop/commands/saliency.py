"""`blockprop saliency`: which pixels of photographs speak for what a network sees in them."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from torch import Tensor

from blockprop.commands.console import counted
from blockprop.commands.making import Around, Made, deliver, require_one
from blockprop.commands.options import Blocks, Device, Json
from blockprop.commands.photos import (
    LookedAt,
    NetworkFile,
    Output,
    Photos,
    PictureSeed,
    Report,
    Seen,
    Side,
    picture_file,
    read_seen,
)
from blockprop.commands.picture_options import percent, sureness
from blockprop.engine.network import Network
from blockprop.errors import SettingError, suggestion
from blockprop.pictures.overlays import heat, limits, overlay
from blockprop.pictures.sheets import sheet
from blockprop.saving.files import require_writable, write_file
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.saliency import Saliency, saliency
from blockprop.visualize.objectives.scores import score

EPILOG = (
    "Examples:\n\n"
    "blockprop saliency goose.jpg --network squeezenet.safetensors\n\n"
    "blockprop saliency goose.jpg cat.jpg -m gradient -m guided -m grad_cam\n\n"
    "blockprop saliency goose.jpg --target 'Egyptian cat' --as overlay --out why_cat.png"
)

KINDS = ("sheet", "overlay", "map")
MOST_COLUMNS = 4
"""Maps beside a single photograph; more go on in another row."""
CELL = 384
"""Pixels of a picture on a sheet."""

MANY = [name for name, method in METHODS.items() if method.passes]
"""The methods that need many gradients."""
MethodNames = Annotated[
    list[str] | None, typer.Option("--method", "-m", help=f"{', '.join(METHODS)}; repeat it for several, or all.")
]
Samples = Annotated[int, typer.Option(min=1, help=f"Gradients of {', '.join(MANY[:-1])} and {MANY[-1]}.")]
Sigma = Annotated[float, typer.Option(help="Noise of smooth_grad, as a share of the picture's range.")]
CamNode = Annotated[str | None, typer.Option("--node", help="Where grad_cam looks; by default the last such node.")]


def make_saliency(
    network: Network,
    around: Around,
    pictures: list[str],
    target: str = "top",
    methods: list[str] | None = None,
    kind: str = "sheet",
    samples: int = 50,
    sigma: float = 0.15,
    node: str | None = None,
    strict: bool = False,
    side: int | None = None,
    output: str | None = None,
    seed: int = 0,
) -> Made:
    """Photographs beside what speaks for the target in them, a row each."""
    methods = method_names(methods or ["gradient"])
    if kind not in KINDS:
        raise SettingError(f"there is no kind of picture {kind!r}{suggestion(kind, KINDS)}")
    if kind != "sheet" or around.also:
        what = "--raw" if around.also else f"--as {kind}"
        require_one("photograph", pictures, what)
        require_one("method", methods, what)
    seen = [read_seen(path, network, side) for path in pictures]
    looked = look(network, around, seen, methods, target, output, samples, sigma, node, strict, seed)
    shares = [sureness(network, each.x, target, output) for each in seen]
    if around.also is not None:
        write_file(around.also, _npy(looked[0][0].attribution[0]))
    rows, said, notes = [["picture", "target", "probability", "method"]], [], []
    for each, found, share in zip(seen, looked, shares, strict=True):
        rows += [[each.name, one.targets[0], percent(share), one.method] for one in found]
        said += [
            {"picture": each.name, "target": one.targets[0], "probability": share, "method": one.method}
            for one in found
        ]
        notes += [f"{each.name}, {one.coverage}" for one in found if one.coverage and not one.coverage.complete]
    facts: dict[str, Any] = {
        "saliency": said,
        "coverage": sorted({str(one.coverage).splitlines()[0] for found in looked for one in found if one.coverage}),
    }
    if kind == "sheet":
        picture = _saliency_sheet(seen, looked, shares)
    else:
        map = looked[0][0].map
        picture = overlay(seen[0].shown, map) if kind == "overlay" else heat(map)
    return Made(picture, facts, rows, notes=[*facts["coverage"], *notes])


def look(
    network: Network,
    around: Around,
    seen: Sequence[Seen],
    methods: Sequence[str],
    target: str,
    output: str | None,
    samples: int,
    sigma: float,
    node: str | None,
    strict: bool,
    seed: int,
) -> list[list[Saliency]]:
    """For each photograph, what each method finds."""
    score(network, target, output)  # raises before the bar is drawn
    passes = {method: samples if METHODS[method].passes else 1 for method in methods}
    found: list[list[Saliency]] = []
    with counted("Looking", len(seen) * sum(passes.values()), around.quiet) as advance:
        for each in seen:
            found.append([])
            for method in methods:
                values = {METHODS[method].passes: samples, "sigma": sigma, "node": node}
                settings: dict[str, Any] = {name: values[name] for name in METHODS[method].settings if name in values}
                bar = Passes(advance, f"{each.name}, {method}", passes[method])
                one = saliency(
                    network, each.x, target, method, output=output, strict=strict, seed=seed, progress=bar, **settings
                )
                bar.finish()
                found[-1].append(one)
    return found


class Passes:
    """Advances a progress bar by one for each call, and at the end by what is missing of `total`."""

    def __init__(self, advance: Callable[[str], None], text: str, total: int):
        self.advance, self.text, self.left = advance, text, total

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            self.advance(self.text)

    def finish(self) -> None:
        while self.left:
            self()


def _saliency_sheet(
    seen: Sequence[Seen], looked: Sequence[Sequence[Saliency]], shares: Sequence[float | None]
) -> Tensor:
    tiles, alone = [], len(seen) == len(looked[0]) == 1
    for each, found, share in zip(seen, looked, shares, strict=True):
        tiles.append((each.shown, f"{each.name}\n"))
        for one in found:
            caption = f"{one.method.replace('_', ' ')}\n{titled(one.targets[0], share)}"
            tiles.append((overlay(each.shown, one.map), caption))
    if alone:
        one = looked[0][0]
        scale = METHODS[one.method].scale or one.method.replace("_", " ")
        return sheet(tiles, 2, side=CELL, scale=(*limits(one.map), scale))
    signs = sorted({limits(one.map)[0] < 0 for found in looked for one in found})
    words = {False: "for the target, each map to its 99 % quantile", True: "against and for the target, likewise"}
    scales = [(-1.0 if signed else 0.0, 1.0, words[signed], None) for signed in signs]
    columns = None if len(seen) == 1 and len(looked[0]) > MOST_COLUMNS else 1 + len(looked[0])
    return sheet(tiles, columns, side=CELL, scale=scales)


def titled(target: str, share: float | None) -> str:
    """What is looked at, and how sure the network is of it."""
    return target if share is None else f"{target}, {share:.1%}"


def method_names(given: Sequence[str]) -> list[str]:
    """The methods that are meant; SettingError for an unknown one."""
    if "all" in given:
        return list(METHODS)
    for method in given:
        if method not in METHODS:
            raise SettingError(f"there is no method {method!r}{suggestion(method, [*METHODS, 'all'])}")
    return list(dict.fromkeys(given))


def _npy(values: Tensor) -> bytes:
    file = io.BytesIO()
    np.save(file, values.cpu().numpy())
    return file.getvalue()


def saliency_(
    photos: Photos,
    network: NetworkFile = None,
    target: LookedAt = "top",
    method: MethodNames = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The picture; by default PHOTO_saliency.png.")] = None,
    kind: Annotated[
        str,
        typer.Option("--as", help="sheet: photographs and maps; overlay: the map on the photograph; map: it alone."),
    ] = "sheet",
    samples: Samples = 50,
    sigma: Sigma = 0.15,
    node: CamNode = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse if guided or deconvnet cannot reach all that rectifies.")
    ] = False,
    side: Side = None,
    output: Output = None,
    raw: Annotated[Path | None, typer.Option(help="A .npy file for the attribution, (channels, h, w).")] = None,
    report: Report = None,
    own_blocks: Blocks = None,
    seed: PictureSeed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Show which pixels of photographs speak for what a network sees in them."""
    path = picture_file(out, f"{Path(photos[0]).stem}_saliency.png")
    if raw is not None:
        if raw.suffix != ".npy":
            raise SettingError(f"--raw writes a .npy file, not {raw}")
        require_writable(raw)
    settings = {
        "network": network,
        "pictures": photos,
        "target": target,
        "methods": method or ["gradient"],
        "kind": kind,
        "samples": samples,
        "sigma": sigma,
        "node": node,
        "strict": strict,
        "side": side,
        "output": output,
        "seed": seed,
    }
    around = Around(path, own_blocks, device, as_json, also=raw)
    deliver("saliency", make_saliency, settings, around, report, as_json)
