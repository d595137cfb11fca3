"""The section of docs/benchmarks.md that speed.py writes, from its numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from reporting import table
from speed_row import OURS

GROUPS = {
    "gradients": """### Gradients by the picture

Of the score of a class (of the mean of conv5_1 in VGG-19, of ½ Σ y² in the dream), all weights fixed, in networks of
full width with random weights; 224 x 224 pixels but where it is said, 64 x 64 for the shipped network. Autograd:
channels first, ReLUs in place, `autograd.grad` by the picture alone. Tuned: channels last in memory, weights that want
no gradients; the same compiled. onnxruntime's forward pass is a lower bound. Artistic style is one evaluation of the
loss and its gradient, beside the paper in plain torch (`plain_style.py`).""",
    "explanations": """### Explanations from many gradients

224 x 224 pixels. Captum takes all samples in one batch by default; with one at a time it needs less memory. "Ours, one
gradient" tells what the others are made of. For the guard SmoothGrad's noise is next to nothing, since no two draw the
same.""",
    "training": """### Training steps

A step is one record of `fit`: shuffle, choose the batch, forward, loss, backward, update; the peers' loops do the same
work. Timed are passes over 4 to 100 batches; JAX has a pass in one compiled function (`jit`, `lax.scan`), tuned
autograd channels last in memory. The bare torch calls are those of a step without shuffling, graph, or checks. The
guard compares changes of the weights.""",
    "growth with pixels": """### Growth with pixels

The gradient of a class by the picture, SqueezeNet 1.1.""",
    "growth with blocks": """### Growth with blocks

The gradient by the picture of a chain of convolutions (3 x 3, 8 channels) and ReLUs, 32 x 32 pixels.""",
}
GUARDED = """Before anything is timed, all must compute the same: relative error at most 1e-9 in float64 (1e-6 for
Captum's integrated gradients, whose steps are float32; in float32 2e-2 for compiled gradients, where rounding closes
some ReLUs, and 1e-4 for onnxruntime). Ours is compared with itself, too: in float32, which kernels in C compute, it may
be 2e-2 away from float64."""

Rows = Mapping[str, Mapping[str, Any]]


def section(results: Mapping[str, Any]) -> str:
    """All groups."""
    rows, limit = results["rows"], results["limits"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if version)
    loads = [row["load"] for row in rows.values()]
    parts = [
        f"""## Speed

By `bench/speed.py`, on {results["machine"]}, {versions}; threads for each: {results["threads"]}.
Each way of doing the work has a process of its own; they take turns on the same cores. Medians of warm calls; half of
ours lie within ± the share. × how many times as fast ours is, in brackets what is wanted.
The machine's load was {min(loads):.1f} to {max(loads):.1f}, of which {results["threads"]} may be ours.

{GUARDED}

The limit is what the machine needs at least for the multiplications (by the direct formulas) or for the weights and
pictures that go through memory, whichever takes longer: torch's best large product reaches
{limit["operations"] / 1e9:.0f} GFLOP/s here, a copy {limit["bytes"] / 1e9:.0f} GB/s. Memory is what a process grows by
at the worst moment of its first calls, prepared weights included; behind the stroke the tensors alone, of a warm
call, where torch makes them. All numbers: [benchmarks.json](benchmarks.json)."""
    ]
    for group, text in GROUPS.items():
        found = {title: row for title, row in rows.items() if row["group"] == group}
        if found:
            parts += [text, times(found, limit), memories(found), *growth(found), *absences(found)]
    if any(row["size"] for row in rows.values()):
        parts.append("![time and memory by pixels and by blocks, both axes logarithmic](pictures/growth.svg)")
    return "\n\n".join(parts)


def duration(seconds: float) -> str:
    """In a unit that suits it."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def ways_of(rows: Rows) -> list[str]:
    """All that occur, in their order."""
    return list(dict.fromkeys(name for row in rows.values() for name in row.get("ways", {})))


def least(row: Mapping[str, Any], limit: Mapping[str, float]) -> float:
    """Seconds that the machine needs for it."""
    return max(2 * row["work"]["multiply_adds"] / limit["operations"], row["work"]["bytes"] / limit["bytes"])


def times(rows: Rows, limit: Mapping[str, float]) -> str:
    """Ours in time, the others as ratios."""
    names, lines = [name for name in ways_of(rows) if name != OURS], []
    for title, row in rows.items():
        if row["differing"]:
            lines.append([title, f"another result: {', '.join(row['differing'])}", *["–"] * (len(names) + 1)])
            continue
        own = row["ways"][OURS]
        spread = (own["high"] - own["low"]) / own["seconds"] / 2
        cells = [f"{duration(own['seconds'])} ± {spread:.0%}", f"{least(row, limit) / own['seconds']:.0%}"]
        lines.append([title, *cells, *(ratio(row, name) for name in names)])
    return table(["", OURS, "of the limit", *(f"× {name}" for name in names)], lines)


def ratio(row: Mapping[str, Any], name: str) -> str:
    """A peer's time by ours."""
    if name not in row["ways"]:
        return "–"
    wanted = f" ({row['wanted'][name]:g})" if name in row["wanted"] else ""
    return f"{row['ways'][name]['seconds'] / row['ways'][OURS]['seconds']:.2f}{wanted}"


def memories(rows: Rows) -> str:
    """Of each way."""
    names = ways_of(rows)
    lines = [[title, *(memory(row, name) for name in names)] for title, row in rows.items() if "ways" in row]
    unit = "bytes a pixel" if all(row["pixels"] for row in rows.values()) else "MB"
    return f"Memory in {unit} / of tensors; page faults of a warm step:\n\n" + table(["", *names], lines)


def memory(row: Mapping[str, Any], name: str) -> str:
    if name not in row["ways"]:
        return "–"
    way = row["ways"][name]
    unit, digits = (row["pixels"], 0) if row["pixels"] else (1e6, 2)
    sizes = [f"{way[kind] / unit:,.{digits}f}" for kind in ("memory", "tensors") if way[kind] is not None]
    return f"{' / '.join(sizes)}; {way['page_faults']:,.0f}"


def growth(rows: Rows) -> list[str]:
    """How time and memory grow, where rows have sizes."""
    grown = [row for row in rows.values() if row["size"] and "ways" in row]
    if len(grown) < 3:
        return []
    lines = []
    for name in ways_of(rows):
        held = [(row["size"], row["ways"][name]) for row in grown if name in row["ways"]]
        sizes = [size for size, _ in held]
        found = [exponent(sizes, [way[kind] for _, way in held]) for kind in ("seconds", "tensors")]
        lines.append([name, *(f"{power:.2f}" for power in found)])
    return ["Fitted exponents, 1 for linear growth:", table(["", "time", "memory of tensors"], lines)]


def exponent(sizes: Sequence[float], values: Sequence[float | None]) -> float:
    """p of  value ≈ c sizeᵖ,  by least squares of the logarithms; nan where a value is missing."""
    logs = [math.log(value) if value else math.nan for value in values]
    return float(np.polynomial.Polynomial.fit(np.log(sizes), logs, 1).convert().coef[1])


def absences(rows: Rows) -> list[str]:
    """Which peers are missing, and why."""
    whys: dict[tuple[str, str], list[str]] = {}
    for title, row in rows.items():
        for name, reason in row["absent"].items():
            whys.setdefault((name, reason), []).append(title)
    return [f"Not measured: {name} ({reason}) in {'; '.join(titles)}." for (name, reason), titles in whys.items()]
