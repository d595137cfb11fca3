"""Gradients of several processes added up while the backward sweep goes on, many of them in one message.

The sweep's order is known beforehand, so which gradients travel together is planned once: the first ones, of the last
layers, in a small bucket that is on its way soon, the others in large ones.
Source: Li et al. 2020, PyTorch Distributed, section 3.2; the sizes are those of torch's DistributedDataParallel.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

FIRST, MOST = 2**20, 25 * 2**20
"""Bytes that the first bucket and all others are filled with, unless a single gradient is larger."""


class Bucket:
    """Gradients that lie one after the other in one tensor. views: by parameter, in the sweep's order."""

    def __init__(self, parameters: Mapping[str, Tensor]):
        sizes = [parameter.numel() for parameter in parameters.values()]
        with torch.inference_mode(False):
            self.numbers = next(iter(parameters.values())).detach().new_zeros(sum(sizes))
        pieces = self.numbers.split(sizes)
        self.views = {
            name: piece.view(parameter.shape)
            for (name, parameter), piece in zip(parameters.items(), pieces, strict=True)
        }


def planned(
    names: Sequence[str], parameters: Mapping[str, Tensor], first: int = FIRST, most: int = MOST
) -> list[Bucket]:
    """The buckets for gradients that come in this order; each holds one type of number, on one device."""
    buckets: list[dict[str, Tensor]] = []
    room, kind = 0, None
    for name in names:
        parameter = parameters[name]
        size = parameter.numel() * parameter.element_size()
        if size > room or (parameter.dtype, parameter.device) != kind:
            room, kind = most if buckets else first, (parameter.dtype, parameter.device)
            buckets.append({})
        buckets[-1][name] = parameter
        room -= size
    return [Bucket(part) for part in buckets]


class Summing:
    """Adds up what the sweeps of all processes give.

    names: of the parameters, in the sweep's order. Those that the first sweep reaches in no process stay left out; what
        else a sweep leaves out counts as 0, so that a process without an example takes part.
    start, wait: of a sum that is on its way.   sum: of a few numbers, at once.
    """

    def __init__(
        self,
        names: Sequence[str],
        parameters: Mapping[str, Tensor],
        start: Callable[[Tensor], Any],
        wait: Callable[[Any], None],
        sum: Callable[[list[float]], list[float]],
    ):
        self.start, self.wait, self.sum = start, wait, sum
        self.buckets = planned(names, parameters)
        self._bucket_of = {name: i for i, bucket in enumerate(self.buckets) for name in bucket.views}
        self._reached: set[str] | None = None

    def summed(self, sweep: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """The sweep's gradients, each summed over all processes, in the same order.

        A bucket is on its way as soon as the sweep has left it, and what has arrived is handed out meanwhile. The
        gradients are views of memory that the next sweep fills anew.
        """
        works: list[Any] = []
        given, came = 0, set[str]()
        for name, gradient in sweep:
            bucket = self._bucket_of[name]
            while len(works) < bucket:
                works.append(self._send(len(works), came))
            while self._reached is not None and given < len(works) and works[given].is_completed():
                yield from self._arrived(given, works)
                given += 1
            self.buckets[bucket].views[name].copy_(gradient)
            came.add(name)
        while len(works) < len(self.buckets):
            works.append(self._send(len(works), came))
        if self._reached is None:
            counts = self.sum([float(name in came) for name in self._bucket_of])
            self._reached = {name for name, count in zip(self._bucket_of, counts, strict=True) if count}
        while given < len(works):
            yield from self._arrived(given, works)
            given += 1

    def _send(self, number: int, came: set[str]) -> Any:
        bucket = self.buckets[number]
        for name in bucket.views.keys() - came:
            bucket.views[name].zero_()
        return self.start(bucket.numbers)

    def _arrived(self, number: int, works: list[Any]) -> Iterator[tuple[str, Tensor]]:
        self.wait(works[number])
        for name, view in self.buckets[number].views.items():
            if name in (self._reached or ()):
                yield name, view
