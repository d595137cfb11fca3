"""Masks and boxes from saliency maps, on 24 annotated photographs. Nothing is tuned on them.

Usage: python bench/segmentation.py [FOLDER]   With a folder, all masks are drawn there: a sheet a network and method.
The photographs are looked for in ../shared/data/annotations, the weights in ../shared/data/weights.
"""

import csv
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from reporting import DATA, table, write_section
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.networks.weights import pretrained
from blockprop.pictures.framing import preprocessing_of
from blockprop.pictures.image_files import read_image
from blockprop.pictures.photos import read_photo, with_preprocessing
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.saliency import Saliency, saliency
from blockprop.visualize.attribution.segmentation import (
    Box,
    bounding_box,
    box_intersection_over_union,
    intersection_over_union,
    pointing_game,
    segment,
)

ANNOTATIONS, WEIGHTS = DATA.parent / "annotations", DATA.parent / "weights"
NETWORKS = {"SqueezeNet 1.1": ("squeezenet1_1", "squeezenet1_1"), "GoogLeNet": ("googlenet", "googlenet_bvlc")}
SIDE = 256
"""Pixels of the shorter side of what the network sees: the whole photograph, in its own proportions."""
SETTINGS = {
    "as in the other tables": {},
    "one cut, as in the paper": {"rounds": 1},
    "seeds held": {"hold": True},
    "one cut, seeds held": {"rounds": 1, "hold": True},
    "map blurred by 2 %": {"smooth": 0.02},
}
"""What `segment` does otherwise, for the second table."""
HEADS = ["masks' IoU", "boxes' IoU", "boxes with IoU ≥ 0.5", "pointing game", "box better than the centered one"]


@dataclass
class Example:
    """A photograph, what is true of it, and its path."""

    path: Path
    picture: Tensor
    mask: Tensor

    @property
    def box(self) -> Box:
        return bounding_box(self.mask)

    @property
    def size(self) -> tuple[int, int]:
        return self.mask.shape[0], self.mask.shape[1]


@dataclass
class Outcome:
    """What was found in one photograph, and how good it is."""

    mask: float
    box: float
    hit: bool | None
    better: bool


def examples() -> Iterator[Example]:
    with (ANNOTATIONS / "annotations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = ANNOTATIONS / "images" / row["file"]
        picture = torch.from_numpy(read_image(path, channels=3).copy()).permute(2, 0, 1).float().div(255)
        mask = torch.from_numpy(read_image((ANNOTATIONS / "masks" / path.name).with_suffix(".png"), channels=1) > 127)
        example = Example(path, picture, mask)
        assert example.box == tuple(int(row[name]) for name in ("x0", "y0", "x1", "y1")), path
        yield example


def strength(seen: Saliency) -> Tensor:
    """What the seeds come from: the map, but for signed ones the size of the attribution, as in the paper."""
    signed = seen.method in ("gradient_times_input", "integrated_gradients")
    return seen.attribution[0].abs().amax(0) if signed else seen.map[0]


def centered(size: tuple[int, int], fraction: float) -> Box:
    """A box around the center with this fraction of the picture's width and height."""
    height, width = size
    left, top = round(width * (1 - fraction) / 2), round(height * (1 - fraction) / 2)
    return left, top, width - left, height - top


def filled(box: Box, size: tuple[int, int]) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def hill(size: tuple[int, int]) -> Tensor:
    """A map that knows only where the center is: 0 there, falling towards the borders."""
    y, x = (torch.linspace(-1, 1, side) for side in size)
    return -(y.square()[:, None] + x.square())


def judged(example: Example, mask: Tensor, box: Box, map: Tensor | None) -> Outcome:
    overlap = box_intersection_over_union(box, example.box)
    hit = None if map is None else pointing_game(map, example.mask)
    better = overlap > box_intersection_over_union(centered(example.size, 0.5), example.box)
    return Outcome(intersection_over_union(mask, example.mask), overlap, hit, better)


def of_box(fraction: float) -> Callable[[Example], Outcome]:
    def outcome(example: Example) -> Outcome:
        box = centered(example.size, fraction)
        return judged(example, filled(box, example.size), box, hill(example.size) if fraction < 1 else None)

    return outcome


def of_hill(example: Example) -> Outcome:
    map = hill(example.size)
    found = segment(example.picture, map)
    return judged(example, found.mask, found.box, map)


def baselines(data: list[Example]) -> list[list[str]]:
    boxes = {percent: [of_box(percent / 100)(example) for example in data] for percent in range(20, 101, 5)}
    best = max(boxes, key=lambda percent: statistics.mean(each.box for each in boxes[percent]))
    return [
        row("the whole picture", boxes[100]),
        row("a centered box, half as wide and high", boxes[50]),
        row(f"the centered box that fits these pictures best ({best} %)", boxes[best]),
        row("`segment` with a map of the center", [of_hill(example) for example in data]),
    ]


def maps(network: Network, data: list[Example], method: str) -> list[Tensor]:
    preprocessing = preprocessing_of(network)
    assert preprocessing is not None
    sized = replace(preprocessing, size=None, shorter_side=SIDE)
    return [strength(saliency(network, read_photo(each.path, sized), method=method)) for each in data]


def run(data: list[Example], found: list[Tensor], sheet: Path | None = None, **settings: float) -> list[Outcome]:
    outcomes, drawn = [], []
    for example, map in zip(data, found, strict=True):
        segmentation = segment(example.picture, map, **settings)
        outcomes.append(judged(example, segmentation.mask, segmentation.box, map))
        drawn.append(outlined(example, segmentation.mask, segmentation.box))
    if sheet is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        side, columns = 400, 6
        whole = Image.new("RGB", (side * columns, side * -(-len(drawn) // columns)))
        for i, picture in enumerate(drawn):
            whole.paste(picture, (i % columns * side, i // columns * side))
        whole.save(sheet)
    return outcomes


def row(name: str, outcomes: list[Outcome]) -> list[str]:
    masks, boxes = [each.mask for each in outcomes], [each.box for each in outcomes]
    hits = [each.hit for each in outcomes if each.hit is not None]
    return [
        name,
        mean(masks),
        mean(boxes),
        f"{statistics.mean(each >= 0.5 for each in boxes):.0%}",
        f"{statistics.mean(hits):.0%}" if hits else "–",
        f"{sum(each.better for each in outcomes)} of {len(outcomes)}",
    ]


def mean(values: list[float]) -> str:
    """With its standard error."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) / len(values) ** 0.5:.2f}"


def outlined(example: Example, mask: Tensor, box: Box) -> Image.Image:
    """The photograph with the true outline in green, the found one in red, and the found box in yellow."""
    levels = example.picture.mul(255).round().byte().permute(1, 2, 0).numpy().copy()
    for each, color in ((example.mask, (0, 255, 0)), (mask, (255, 0, 0))):
        levels[outline(each.numpy())] = color
    picture = Image.fromarray(levels)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline="yellow")
    draw.text((4, 4), f"{example.path.stem}: {intersection_over_union(mask, example.mask):.2f}", fill="white")
    return picture


def outline(mask: np.ndarray) -> np.ndarray:
    """Those pixels of the mask that have a neighbor outside of it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def main() -> None:
    data, folder = list(examples()), Path(sys.argv[1]) if len(sys.argv) > 1 else None
    parts, others = [], []
    for title, (name, file) in NETWORKS.items():
        network = with_preprocessing(pretrained(name, WEIGHTS / f"{file}.safetensors"))
        rows = []
        for method in METHODS:
            found = maps(network, data, method)
            rows.append(row(f"`{method}`", run(data, found, folder and folder / f"{name}_{method}.png")))
            print(title, *rows[-1], file=sys.stderr)
            if method == "gradient":
                others += [row(f"{title}, {each}", run(data, found, **kw)) for each, kw in SETTINGS.items()]
        parts.append(f"{title}:\n\n{table(['method', *HEADS], rows)}")
    write_section("segmentation", text(data, parts, others))


def text(data: list[Example], parts: list[str], others: list[list[str]]) -> str:
    newline = "\n\n"
    return f"""## Segmentation from saliency

By `bench/segmentation.py`: the saliency map of the network's own best class, then `segment` with its defaults, on
{len(data)} annotated photographs (ECSSD; animals, one connected object of 4 to 50 % of the picture). The network sees
the whole photograph, its shorter side scaled to {SIDE} pixels; map and mask have the photograph's own size. IoU:
intersection over union, mean and standard error. Pointing game: the map's maximum lies on the object or at most 15
pixels from it. Signed attributions count by their size. The quantiles are the paper's. Seeds are not held because of 40
other pictures of ECSSD (SqueezeNet, `gradient`: masks' IoU 0.56, with seeds held 0.35); that it helps here, too, was
known by then. That seeds stand for a mask without any came from one mask of two pixels here (GoogLeNet, `grad_cam`: IoU
0.00, now 0.13). Nothing else was chosen by its outcome.

Without a network, for comparison. The third and the fourth know where photographers put their objects, and the third
has even seen these. The fourth is the one to beat: colors do most of the work once some seeds lie on the object, and in
these pictures the center does.

{table(["", *HEADS], baselines(data))}

{newline.join(parts)}

The method `gradient` with other settings of `segment`:

{table(["", *HEADS], others)}
"""


if __name__ == "__main__":
    main()
