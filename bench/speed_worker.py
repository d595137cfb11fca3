"""A process that does one row's work in one way, whenever it is asked; turns.py starts it.

Arguments: ROW WAY      answers "seconds" with the calls of so many, "tensors" with a peak
           ROW          the guard: do all ways of the row compute the same?
"""

import json
import os
import sys
from importlib.util import find_spec
from typing import Any

import torch
from measuring import process_peak, timed
from speed_row import OURS, Numbers, Row, Way
from speed_rows import ROWS
from torch import Tensor

from tests.tensor_peak import tensor_peak

SINGLE, ROUGH = "ours in float32", 2e-2
"""Kernels in C compute in float32 alone; where rounding closes some ReLUs and opens others gradients differ so far."""


def missing(way: Way) -> str | None:
    """Why it cannot be tried."""
    return f"{way.package} is not installed" if way.package and find_spec(way.package) is None else None


def why(error: Exception) -> str:
    """In a line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]


def guard(row: Row) -> dict[str, Any]:
    """{errors: by way, from the first that gives the same; absent: by way, why; work}.

    What cannot compute in float64 is compared in float32. Raises what ours raises.
    """
    errors: dict[str, float] = {}
    absent = dict(row.absent)
    expected: dict[tuple[str, torch.dtype], Tensor] = {}
    for name, way in row.ways.items():
        if name in absent:
            continue
        if reason := missing(way):
            absent[name] = reason
            continue
        dtype = torch.float64 if way.exact else torch.float32
        first = next(each for each in row.ways.values() if each.gives == way.gives)
        try:
            found = checked(way, dtype)
        except Exception as error:
            if first is way:
                raise
            absent[name] = why(error)
            continue
        if (way.gives, dtype) not in expected:
            expected[way.gives, dtype] = found if first is way else checked(first, dtype)
        if first is not way:
            right = expected[way.gives, dtype]
            errors[name] = float((found - right).norm() / right.norm())
    ours = row.ways[OURS]
    if ours.exact:
        right = expected[ours.gives, torch.float64]
        errors[SINGLE] = float((checked(ours, torch.float32) - right).norm() / right.norm())
    return {"errors": errors, "absent": absent, "work": row.work()._asdict()}


def checked(way: Way, dtype: torch.dtype) -> Tensor:
    """All numbers that it computes."""
    numbers: Numbers = way.check(dtype) if way.check else way.make(dtype)()
    parts = [numbers] if isinstance(numbers, Tensor) else numbers
    return torch.cat([part.detach().double().flatten() for part in parts])


def differing(row: Row, errors: dict[str, float]) -> list[str]:
    """Ways that compute something else."""
    return [name for name, error in errors.items() if not error < (ROUGH if name == SINGLE else row.ways[name].apart)]


def serve(way: Way) -> None:
    """Answer until nobody asks. A first instance of the work loads all code; its memory is given back."""
    way.make(torch.float32)()
    run = way.make(torch.float32)
    print(json.dumps({"memory": process_peak(run)}), flush=True)
    for line in sys.stdin:
        question, *numbers = line.split()
        answer = timed(run, float(numbers[0])) if question == "seconds" else tensor_peak(run)
        print(json.dumps(answer), flush=True)


def main() -> None:
    """Be a guard, or a worker, on as many cores as there are threads."""
    cores = sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])]
    os.sched_setaffinity(0, cores)
    row = ROWS[sys.argv[1]]
    if len(sys.argv) == 2:
        found = guard(row)
        print(json.dumps({**found, "differing": differing(row, found["errors"])}), flush=True)
    else:
        serve(row.ways[sys.argv[2]])
