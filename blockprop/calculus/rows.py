"""The derivatives of each element of a function's result: sweeps from seeds of 1, many at once if that is the same."""

from collections.abc import Iterator

import torch
from torch import Tensor

from blockprop.calculus.recording import Recording
from blockprop.errors import BlockpropError

FEWEST, MOST = 4, 64
"""So many sweeps are worth a batch; so many go at once."""
LARGEST = 2**25
"""Numbers that the values of a batch hold at most."""
SAME = {torch.float64: 1e-10, torch.float32: 1e-5}
"""By how much a batch's derivatives may differ from one example's, in units of their size."""


def unit_rows(recording: Recording, names: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """∂y_i/∂(each of these) for the elements y_i in turn, some at a time: (some, *its shape) by name.

    A network of one example is run on copies of it, a seed of 1 in another place of each. Whether each copy gets what
    the example alone would is tried with one sweep of that example, for a random sum of the seeds; where it is not so
    (rows that are mixed, sizes that are fixed), there is a sweep for each element.
    """
    count = recording.value.numel()
    at_once = min(MOST, LARGEST // max(1, sum(value.numel() for value in recording.trace.values.values())))
    can = min(count, at_once) >= FEWEST and _is_example(recording, names)
    start = 0
    while start < count:
        places = range(start, min(count, start + at_once) if can else start + 1)
        found = _batch(recording, names, places) if can else None
        if found is None:
            can, places = False, range(start, start + 1)
            found = {name: d[None] for name, d in recording.back(_seed(recording, places, [1.0]), names).items()}
        yield found
        start = places.stop


def _is_example(recording: Recording, names: tuple[str, ...]) -> bool:
    """Whether all that is wanted and the result have a first axis of one, along which copies can stand."""
    wanted = [recording.trace[name] for name in names if name in recording.inputs]
    return len(wanted) == len(names) and all(t.ndim and t.shape[0] == 1 for t in (*wanted, recording.value))


def _seed(recording: Recording, places: range, weights: list[float]) -> Tensor:
    """A derivative by the result: these numbers at these places, 0 elsewhere."""
    seed = torch.zeros_like(recording.value, memory_format=torch.contiguous_format)
    seed.view(-1)[places.start : places.stop] = torch.tensor(weights, dtype=seed.dtype)
    return seed


def _batch(recording: Recording, names: tuple[str, ...], places: range) -> dict[str, Tensor] | None:
    """The derivatives at these places, from copies of the example; None if they are not those of the example alone."""
    network, y, count = recording.network, recording.value, len(places)
    copies = [
        torch.cat([x] * count) if name in names else x for name, x in zip(network.inputs, recording.points, strict=True)
    ]
    try:
        trace = network.forward(*copies)
        if trace.output.shape != (count, *y.shape[1:]):
            return None
        seeds = torch.zeros_like(trace.output, memory_format=torch.contiguous_format).view(count, -1)
        seeds[range(count), places] = 1
        found = network.backward(trace, seeds.view(trace.output.shape), names)
    except BlockpropError:  # of sizes that do not follow the input: one by one it is right
        return None
    weights = torch.rand(count, generator=torch.Generator().manual_seed(places.start), dtype=y.dtype) + 0.5
    alone = recording.back(_seed(recording, places, weights.tolist()), names)
    for name, rows in found.items():
        off = (weights @ rows.flatten(1)).reshape(alone[name].shape) - alone[name]
        size = float((weights @ rows.flatten(1).abs()).max()) if rows.numel() else 0.0
        if not bool((off.abs() <= SAME.get(y.dtype, 1e-2) * size).all()):
            return None
    return {name: rows[:, None] for name, rows in found.items()}
