"""Numbers at the edges of their type, and who is right there: the code, torch in the same type, or float64.

A result is right if it is torch's, or float64's, or no worse than torch's. Where torch itself has no finite number,
anything goes; and so do infinities from a sixteenth of the largest number on, where sums in another order overflow.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import chain

import torch
from torch import Tensor

Results = Mapping[str, Tensor]
ROUNDINGS = 32
"""Units in the last place of the largest number, that a few sums and another order may cost."""


def values(dtype: torch.dtype) -> dict[str, float]:
    """What is worth trying, by name."""
    info = torch.finfo(dtype)
    log = math.log(info.max)
    return {
        "0": 0.0,
        "−0": -0.0,
        "the smallest": info.smallest_normal * info.eps,
        "the smallest normal": info.smallest_normal,
        "whose square is the smallest normal": info.smallest_normal**0.5,
        "ε": info.eps,
        "1": 1.0,
        "−1": -1.0,
        "just below 1": 1 - info.eps / 2,
        "whose exp is just held": 0.98 * log,
        "whose exp is nearly 0": -0.98 * log,
        "whose exp is 0": -2 * log,
        "whose cube is too large": 1.1 * info.max ** (1 / 3),
        "whose square is too large": 1.1 * info.max**0.5,
        "−, whose square is too large": -1.1 * info.max**0.5,
        "the largest": info.max,
        "− the largest": -info.max,
        "a third of the largest": info.max / 3,
        "∞": math.inf,
        "−∞": -math.inf,
    }


def edges(inputs: tuple[Tensor, ...], dtype: torch.dtype) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """(title, inputs): every number an edge value, one number of one input, all of that size, ± of it in turn."""
    places = [i for i, x in enumerate(inputs) if x.is_floating_point() and x.numel()]
    for name, value in values(dtype).items() if places else ():
        yield f"all {name}", tuple(torch.full_like(x, value) if x.is_floating_point() else x for x in inputs)
        for i in places:
            yield f"one of input {i} {name}", (*inputs[:i], _with_one(inputs[i], value), *inputs[i + 1 :])
        if value > 0 and value not in (1.0, 1 - torch.finfo(dtype).eps / 2):
            yield f"of the size: {name}", tuple(map(lambda x, value=value: _of_size(x, value), inputs))
            yield f"±{name}", tuple(map(lambda x, value=value: _alternating(x, value), inputs))


def _with_one(x: Tensor, value: float) -> Tensor:
    x = x.clone()
    x.view(-1)[x.numel() // 2] = value
    return x


def _of_size(x: Tensor, value: float) -> Tensor:
    return x / x.abs().max().clamp(min=1e-3) * value if x.is_floating_point() and x.numel() else x


def _alternating(x: Tensor, value: float) -> Tensor:
    if not x.is_floating_point():
        return x
    signs = torch.ones(x.numel(), dtype=x.dtype)
    signs[::2] = -1
    return (signs * value).view(x.shape)


def wrong(results: Results, torchs: Results | None, in_float64: Results, largest_input: float) -> list[str]:
    """What is neither torch's nor float64's, in words.

    largest_input: where sums cancel, their rounding is as large as the products that went in
    """
    return list(chain(*(_wrong(name, results, torchs, in_float64, largest_input) for name in results)))


def _wrong(
    name: str, results: Results, torchs: Results | None, in_float64: Results, largest_input: float
) -> Iterator[str]:
    y, exact = results[name], in_float64[name]
    rounded = exact.to(y.dtype)
    theirs = rounded if torchs is None else torchs[name].to(y.dtype)
    if y.shape != rounded.shape:
        yield f"{name} has the shape {tuple(y.shape)}, torch's {tuple(rounded.shape)}"
        return
    right = (y == theirs) | (y == rounded) | (y.isnan() & rounded.isnan())
    if y.is_floating_point():
        info = torch.finfo(y.dtype)
        scale = max(largest(in_float64.values()), largest_input)
        error, their_error = ((one.double() - exact).abs() for one in (y, theirs))
        allowed = max(ROUNDINGS * info.eps * scale, 8 * largest([their_error])) + 4 * info.smallest_normal
        right |= (error <= allowed) | ~theirs.isfinite()
        right |= ~y.isfinite() & ~(exact.abs() < info.max / 16)
    if not right.all():
        numbers = [[float(f"{v:.4g}") for v in one[~right][:3].tolist()] for one in (y, theirs, exact)]
        yield f"{name} is {numbers[0]}, torch's {'is missing' if torchs is None else numbers[1]}, true {numbers[2]}"


def largest(tensors: object) -> float:
    """The largest finite size in any of them; 0 if there is none."""
    finite = [x[x.isfinite()].abs() for x in tensors if x.is_floating_point()]  # type: ignore[attr-defined]
    return max((float(x.max()) for x in finite if x.numel()), default=0.0)
