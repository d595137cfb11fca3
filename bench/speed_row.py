"""What is measured, as data: a row is one piece of work, and the ways in which ours and the peers do it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.native.sources import SWITCH
from blockprop.reports.costs import costs, total

Run = Callable[[], Any]
"""Does the work once, and returns what it computed."""
Numbers = Tensor | Sequence[Tensor]
OURS, BY_TORCH = "ours", "ours, torch's kernels"


class Way(NamedTuple):
    """How one of them does it.

    make: prepares everything in numbers of a kind, for timing.
    check: what it computes, for the guard; by default what a first run returns.
    package: what must be installed.   exact: it can compute in float64, too.
    gives: what comes out; the guard compares those that give the same.
    apart: how far that may be from the first's, |a − b| / |b|.
    """

    make: Callable[[torch.dtype], Run]
    check: Callable[[torch.dtype], Numbers] | None = None
    package: str | None = None
    exact: bool = True
    gives: str = "gradient"
    apart: float = 1e-9


class Work(NamedTuple):
    """The least that the work needs: products of numbers by the direct formulas, and bytes from or to memory."""

    multiply_adds: float
    bytes: float


class Row(NamedTuple):
    """One piece of work.

    ways: by name, OURS first.   work: of one step.   steps: in one run.
    wanted: how many times as fast as a way ours should be.   absent: ways that are not tried, and why.
    pixels: of all pictures; memory is told for each.   size: by which its group grows.
    """

    group: str
    ways: Mapping[str, Way]
    work: Callable[[], Work]
    steps: int = 1
    wanted: Mapping[str, float] = {}
    absent: Mapping[str, str] = {}
    pixels: int | None = None
    size: int | None = None


def by_torch_kernels(make: Callable[[torch.dtype], Run]) -> Callable[[torch.dtype], Run]:
    """The same without kernels in C."""

    def made(dtype: torch.dtype) -> Run:
        with without_kernels():
            run = make(dtype)

        def again() -> Any:
            with without_kernels():
                return run()

        return again

    return made


@contextmanager
def without_kernels() -> Iterator[None]:
    """As a machine that has none."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "0"
    yield
    if before is None:
        del os.environ[SWITCH]
    else:
        os.environ[SWITCH] = before


def input_gradient(network: Network, x: Tensor, gradients: int = 1) -> Work:
    """Of gradients by the input: each product once forward and once back, the weights read once for each pass."""
    needed = total(costs(network, x))
    weights = sum(tensor.nbytes for tensor in network.parameters.values())
    return Work(2 * gradients * needed.multiply_adds, 2 * gradients * weights + 2 * x.nbytes)
