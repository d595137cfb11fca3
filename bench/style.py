"""Style transfer beside the paper written plainly (plain_style.py): loss over time, memory.

Both have the same network, losses, weights, pictures and start. They take turns, each step going to whoever has used
less time. 5 to 10 minutes on one core.

Usage: python bench/style.py
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from plain_style import Plain, Reading, squeezenet, vgg, with_weights
from reporting import DATA, machine, table, write_section
from torch import nn

from blockprop.engine.network import Network
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.picture_files import read_picture
from blockprop.visualize.style.run import Stylization
from blockprop.visualize.style.stylize import stylize

FOLDER = DATA.parent
STEPS = 300
MORE_STEPS = 500
"""Of ours, so that they last as long as autograd's."""
COARSE_TO_FINE = (60, 40, 20, 10, 5, 350)
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
"""Of the time of the plain version's steps, at which the losses are compared."""


class Case(NamedTuple):
    """One network: its file, longer side of the picture, and the torch module with the same weights."""

    title: str
    architecture: str
    file: str
    side: int
    module: Callable[[Network], nn.Sequential]


CASES = (
    Case("VGG-19, distilled, to conv5_1", "vgg19", "vgg19_distilled16x_conv5_1", 320, vgg),
    Case("VGG-19, normalized, to conv3_1", "vgg19", "vgg19_normalised_conv3_1", 192, vgg),
    Case("SqueezeNet 1.1", "squeezenet1_1", "squeezenet1_1", 320, squeezenet),
)


def ours(run: Stylization) -> Iterator[Reading]:
    used = 0.0
    while True:
        start = time.perf_counter()
        step = next(run, None)
        if step is None:
            return
        used += time.perf_counter() - start
        content, *styles, variation = step.parts.values()
        yield Reading(used, step.value, [content, sum(styles), variation])


def taking_turns(runners: dict[str, Iterator[Reading]]) -> dict[str, list[Reading]]:
    """All readings of each; the next step is always that of whoever has used the least time."""
    readings: dict[str, list[Reading]] = {name: [] for name in runners}
    left = dict(runners)
    while left:
        name = min(left, key=lambda name: readings[name][-1].seconds if readings[name] else 0.0)
        reading = next(left[name], None)
        if reading is None:
            del left[name]
        else:
            readings[name].append(reading)
    return readings


def at(readings: list[Reading], seconds: float) -> Reading | None:
    """The lowest loss by then."""
    done = [reading for reading in readings if reading.seconds <= seconds]
    return min(done, key=lambda reading: reading.value) if done else None


def reached(readings: list[Reading], value: float) -> float | None:
    return next((reading.seconds for reading in readings if reading.value <= value), None)


class Outcome(NamedTuple):
    """Rows of the tables."""

    losses: list[list[object]]
    shares: list[object]


def entered(run: Stylization) -> Stylization:
    """With its losses at the first size."""
    run.enter(0)
    return run


def measured(case: Case) -> Outcome:
    network = with_preprocessing(pretrained(case.architecture, FOLDER / "weights" / f"{case.file}.safetensors"))
    content = read_picture(FOLDER / "art" / "content_tubingen.jpg", longest=case.side)
    style = read_picture(FOLDER / "art" / "style_starry_night.jpg")

    def run(start: str, steps: int | Sequence[int]) -> Stylization:
        scales = len(steps) if isinstance(steps, Sequence) else 1
        return stylize(
            network, content, style, case.side, steps, start=start, scales=scales, details=1.0, range_weight=0.0
        )

    module = with_weights(case.module(network), network)
    losses: list[list[object]] = []
    shares: list[object] = [case.title]
    for start in ("content", "noise"):
        readings = taking_turns(
            {
                "autograd": Plain(module, entered(run(start, STEPS))).steps(STEPS),
                "one size": ours(run(start, MORE_STEPS)),
                "coarse to fine": ours(run(start, COARSE_TO_FINE)),
            }
        )
        losses += loss_rows(f"{case.title}, from {start}", readings)
        shares += share_cells(readings)
    return Outcome(losses, shares)


def finest(readings: list[Reading]) -> list[Reading]:
    """Those at the last size."""
    return readings[-COARSE_TO_FINE[-1] :]


def loss_rows(title: str, readings: dict[str, list[Reading]]) -> list[list[object]]:
    total = readings["autograd"][-1].seconds
    rows: list[list[object]] = []
    for share in SHARES:
        lowest = [
            at(readings["autograd"], share * total),
            at(readings["one size"], share * total),
            at(finest(readings["coarse to fine"]), share * total),
        ]
        cells = ["–" if reading is None else told(reading) for reading in lowest]
        rows.append([title, f"{share * total:.0f} s", *cells])
    return rows


def told(reading: Reading) -> str:
    content, style, _ = reading.parts
    return f"{reading.value:.4f} ({content:.3f} + {style:.3f})"


def share_cells(readings: dict[str, list[Reading]]) -> list[object]:
    """How long one takes to the loss that another has after its steps at one size, as a part of that one's time."""
    cells: list[object] = []
    for goal, runner in (("autograd", "one size"), ("autograd", "coarse to fine"), ("one size", "coarse to fine")):
        aimed = readings[goal][:STEPS]
        aim, total = min(reading.value for reading in aimed), aimed[-1].seconds
        counted = finest(readings[runner]) if runner == "coarse to fine" else readings[runner]
        seconds = reached(counted, aim)
        cells.append(f"not in {counted[-1].seconds / total:.0%}" if seconds is None else f"{seconds / total:.0%}")
    return cells


def main() -> None:
    torch.set_num_threads(1)
    outcomes = []
    for case in CASES:
        outcomes.append(measured(case))
        print(*outcomes[-1], sep="\n", file=sys.stderr)
    loss_heads = ["network", "after", "autograd, torch.optim.LBFGS", "ours, one size", "ours, coarse to fine"]
    share_heads = ["network"]
    for start in ("content", "noise"):
        share_heads += [
            f"from {start}: one size, to autograd's loss",
            "coarse to fine, to autograd's loss",
            "coarse to fine, to ours of one size",
        ]
    write_section(
        "style",
        f"""## Artistic style

By `bench/style.py`, with one thread, on {machine()}: `art/content_tubingen.jpg` in the style of
`art/style_starry_night.jpg`, with the default layers and weights, but no penalty of
numbers out of range, which the paper lacks. Beside it the paper (Gatys, Ecker and Bethge 2015)
in plain torch: modules with ReLUs in place whose weights want no gradients, the same losses, autograd and
`torch.optim.LBFGS` with its usual settings (rate 1, history 100, no line search, no tolerances). Ours has a history of
20 and a first guess of the curvature that suits pictures, see `quasi_newton.py`.

Time and memory of one evaluation stand under speed. L-BFGS keeps 200 pictures more in torch, 40 in ours, in half
precision.

Weighted loss, and of it content + style, at equal time; the runs take turns. The last row of each network is where
autograd has made {STEPS} steps.

{table(loss_heads, [row for outcome in outcomes for row in outcome.losses])}

Time to the loss that others have after {STEPS} steps at one size, as a part of their time. Coarse to fine are
{", ".join(map(str, COARSE_TO_FINE))} steps at sizes that grow by √2; only losses at the last one, that of the others,
count. From the content itself, whose loss is 0 there, coarse sizes do not help the loss, only the look (large strokes);
from noise, with which the paper starts, they do.

{table(share_heads, [outcome.shares for outcome in outcomes])}
""",
    )


if __name__ == "__main__":
    main()
