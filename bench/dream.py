"""Dreams in tiles: how near their gradient is to the untiled one, seams, and memory; speed.py has their time.

Usage: python bench/dream.py
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from reporting import DATA, machine, table, write_section
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Seeds
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.picture_files import read_picture
from blockprop.visualize.dream import dream
from blockprop.visualize.tiles import Tile
from blockprop.visualize.tiling import Outputs, Tiling

NODE = "inception_4c"
LARGE = (3000, 4000)
TILES = (384, 512, 768)
SEAM_TILE, SEAM_SIZE, NEAR = 512, (1000, 1400), (-24, -16, 16, 24)


def googlenet() -> Network:
    return with_preprocessing(pretrained("googlenet", DATA.parent / "weights" / "googlenet_bvlc.safetensors"))


def sky(size: tuple[int, int] | None = None) -> Tensor:
    picture = read_picture(DATA.parent / "art" / "deepdream_sky.jpg")
    return picture if size is None else F.interpolate(picture, size, mode="bicubic").clamp(0, 1)


def dreaming(_: Tile, outputs: Outputs) -> Seeds:
    """Of ½ Σ y², over all places of all tiles."""
    return dict(outputs)


def error(network: Network, gradient: Callable[[Tiling], Tensor], node: str, tile: int) -> str:
    whole, tiled = (gradient(Tiling(network, [node], each)) for each in (None, tile))
    return f"{float((whole - tiled).norm() / whole.norm()):.1e}"


def styled(picture: Tensor, node: str) -> Callable[[Tiling], Tensor]:
    """The gradient of |G|² of a node, G = F Fᵀ / places: its seed needs the whole picture's G first."""

    def gradient(tiling: Tiling) -> Tensor:
        _, height, width = tiling.sizes(picture)[node]
        places, sums = height * width, []

        def look(_: Tile, outputs: Outputs) -> None:
            sums.append(outputs[node].flatten(2)[0] @ outputs[node].flatten(2)[0].T)

        def seeds(_: Tile, outputs: Outputs) -> Seeds:
            whole = torch.stack(sums).sum(0) / places
            y = outputs[node]
            return {node: (4 / places * whole @ y.flatten(2)[0]).view_as(y)}

        return tiling.gradient(picture, seeds, look)

    return gradient


def errors(network: Network) -> str:
    picture = sky()
    style_node = "inception_3b"
    rows = []
    for tile in TILES:
        dreamed = error(network, lambda tiling: tiling.gradient(picture, dreaming), NODE, tile)
        painted = error(network, styled(picture, style_node), style_node, tile)
        rows.append([f"{tile} pixels", dreamed, painted])
    heads = ["tiles", f"dream at {NODE}", f"Gram matrix at {style_node}"]
    return table(heads, rows)


def seams(network: Network) -> str:
    """Energy of what a dream has changed, across the borders of tiles and near them."""
    picture = sky(SEAM_SIZE)
    made = {}
    for name, tile in (("in tiles", SEAM_TILE), ("as a whole", None)):
        run = dream(network, picture, NODE, steps=3, octaves=1, jitter=0, rate=4 / 255, tile=tile)
        for _ in run:
            pass
        made[name] = run.picture() - picture
    tiles = Tiling(network, [NODE], SEAM_TILE).tiles(picture)
    rows = []
    for name, changed in made.items():
        cells = [name]
        for axis, length in ((3, SEAM_SIZE[1]), (2, SEAM_SIZE[0])):
            places = {tile.places[NODE][axis - 2].start * 16 for tile in tiles}
            borders = [at for at in places | {tile.crop[axis - 2].start for tile in tiles} if 30 < at < length - 30]
            energy = changed.diff(dim=axis).square().mean((0, 1, 5 - axis))
            at = torch.tensor(sorted(borders)) - 1
            near = torch.cat([energy[at + step] for step in NEAR]).mean()
            cells.append(f"{float(energy[at].mean() / near):.3f}")
        rows.append(cells)
    return table(["dream", "columns: at borders / near them", "rows: at borders / near them"], rows)


def large() -> None:
    """In a process of its own: one step at each octave of a large picture; prints the peak in MB and seconds a step."""
    network, picture = googlenet(), sky(LARGE)
    start = time.perf_counter()
    steps = [step.seconds for step in dream(network, picture, NODE, steps=1)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    last = steps[-1] - steps[-2]
    print(f"{peak:,.0f} {len(steps)} {last:.0f} {time.perf_counter() - start:.0f}")


def main() -> None:
    if sys.argv[1:] == ["large"]:
        large()
        return
    torch.set_num_threads(1)
    network = googlenet()
    near, border = errors(network), seams(network)
    done = subprocess.run([sys.executable, __file__, "large"], capture_output=True, text=True, check=True)
    peak, steps, last, total = done.stdout.split()[-4:]
    height, width = LARGE
    size = f"{SEAM_SIZE[1]} x {SEAM_SIZE[0]} pixels"
    text = f"""## Dreams

By `bench/dream.py`, on {machine()}, one thread unless said otherwise.

How far the gradient in tiles is from the untiled one, relative, in float32, on the sky of 1024 x 575 pixels. Wanted is
1e-5.

{near}

Seams: the energy (squared differences of neighbors) of what three large steps have changed, across the borders of tiles
of {SEAM_TILE} pixels, divided by that 16 and 24 pixels beside them; a picture of {size}, no shifts. Wanted
in tiles is a ratio within 2 % of that of the whole, where the borders are nothing but places.

{border}

A photograph of {width} x {height} pixels with the defaults, one step at each of {steps} octaves, two threads:
{peak} MB for the whole process (wanted: 3 GB), {last} s for a step at full size, {total} s in all.
"""
    write_section("dream", text)


if __name__ == "__main__":
    main()
