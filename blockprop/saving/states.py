"""Whether a state from a file can be that of a run: compared with what the run itself would have written.

Anybody may have written a file, and what does not fit would fail much later, or never be noticed.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.errors import FormatError, shape
from blockprop.saving.files import kind_of, plain, short

NUMBERS = (int, float)
PLACE = struct.Struct("=8xiiQ")
"""In the state of a generator of torch on the CPU: behind its seed how many numbers are left, whether it was seeded,
and which number comes next, of TWISTED."""
TWISTED = 624
"""Numbers that it (Matsumoto and Nishimura 1998) makes at a time."""


def require_like(value: Any, pattern: Any, where: str) -> None:
    """FormatError with the place if a value is of another kind than the pattern, or holds other things.

    Tensors have one shape and type of number, mappings the same keys, lists as many entries. Where the pattern is None
    or an empty mapping or list, nothing is said of the value; a pattern of several types says that it is of one.
    """
    if pattern is None or (isinstance(pattern, Mapping | Sequence) and not pattern and type(value) is type(pattern)):
        return
    if isinstance(pattern, Tensor):
        _require_tensor(value, pattern, where)
    elif isinstance(pattern, Mapping):
        if not isinstance(value, Mapping) or value.keys() != pattern.keys():
            came = short(list(value)) if isinstance(value, Mapping) else _kind(value)
            raise FormatError(f"{where}: expected {short(list(pattern))}, came {came}")
        for key, part in pattern.items():
            require_like(value[key], part, f"{key} of the {where}")
    elif isinstance(pattern, list | tuple) and not all(isinstance(kind, type) for kind in pattern):
        if not isinstance(value, list | tuple) or len(value) != len(pattern):
            raise FormatError(f"{where}: expected a list of {len(pattern)}, came {_kind(value)}")
        for i, (one, part) in enumerate(zip(value, pattern, strict=True)):
            require_like(one, part, f"entry {i} of the {where}")
    else:
        _require_kind(value, pattern, where)


def require_count(value: Any, where: str, least: int = 0, most: int | None = None) -> None:
    """FormatError if it is no whole number from the least to the most."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not (least <= value and (most is None or value <= most))
    ):
        upto = "" if most is None else f" to {most}"
        raise FormatError(f"{where}: expected a whole number from {least}{upto}, came {short(value)}")


def set_generator(generator: torch.Generator, state: Any, where: str) -> None:
    """Have the generator go on from a state of a file. FormatError if it is none.

    torch itself does not look whether as many numbers are left as there are behind the next one: it would take what
    stands in memory behind them for random numbers.
    """
    require_like(state, generator.get_state(), where)
    if len(state) == len(torch.Generator().get_state()):  # that of a GPU is a seed and a count
        left, _, following = PLACE.unpack_from(state.cpu().numpy().tobytes())
        if not (0 < left <= TWISTED and left + following <= TWISTED + 1):
            raise FormatError(f"{where}: expected the state of a generator of random numbers, came other bytes")
    generator.set_state(state)


def require_optimizer(state: Any, fresh: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
    """FormatError if it cannot be the state of an optimizer of torch that begins with `fresh`, for these parameters."""
    where = "optimizer"
    require_like(state, {"state": None, "param_groups": None}, where)
    require_like(state["param_groups"], list(fresh["param_groups"]), f"groups of the {where}")
    for group, begun in zip(state["param_groups"], fresh["param_groups"], strict=True):
        for name, value in begun.items():
            if (value is None or isinstance(value, bool) or name == "params") and group[name] != value:
                raise FormatError(f"{name} of the {where}: expected {short(value)}, came {short(group[name])}")
    if not isinstance(state["state"], Mapping) or not state["state"].keys() <= set(range(len(parameters))):
        raise FormatError(f"{where}: expected a state for each of {len(parameters)} parameters, came other ones")
    for number, held in state["state"].items():
        require_like(held, {}, f"state {number} of the {where}")
        for name, value in held.items():
            _require_held(value, parameters[number], f"{name} of the state {number} of the {where}")


def differences(name: str, theirs: Any, ours: Any) -> Iterator[tuple[str, Any, Any]]:
    """(where, theirs, ours) of each part that is not equal. What only one has counts if it is not None or False."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        if theirs.get("kind") != ours.get("kind"):
            yield name, theirs.get("kind"), ours.get("kind")
            return
        for key in {**theirs, **ours}:
            yield from differences(f"{key} of the {name}", theirs.get(key), ours.get(key))
    elif plain(theirs or None, name) != plain(ours or None, name):
        yield name, theirs, ours


def _require_held(value: Any, parameter: Tensor, where: str) -> None:
    """What optimizers keep for a parameter: numbers, tensors of its shape or of one number, lists of either."""
    if isinstance(value, list | tuple):
        for one in value:
            _require_held(one, parameter, where)
    elif isinstance(value, Tensor):
        parts = {1, *parameter.shape}  # Adafactor keeps means over rows and columns
        if not (value.numel() == parameter.numel() or parts >= set(value.shape)) or value.is_complex():
            raise FormatError(f"{where}: expected numbers of {shape(parameter)}, came {value.dtype} {shape(value)}")
    elif value is not None and not isinstance(value, int | float):
        raise FormatError(f"{where}: expected a tensor or a number, came {_kind(value)}")


def _require_tensor(value: Any, pattern: Tensor, where: str) -> None:
    if not isinstance(value, Tensor):
        raise FormatError(f"{where}: expected a tensor of {shape(pattern)}, came {_kind(value)}")
    if value.shape != pattern.shape or value.dtype != pattern.dtype:
        raise FormatError(f"{where}: expected {pattern.dtype} {shape(pattern)}, came {value.dtype} {shape(value)}")


def _require_kind(value: Any, pattern: Any, where: str) -> None:
    """A bool for a bool, a whole number for one, any number for another number, text for text."""
    kind = type(pattern)
    fits = isinstance(value, bool) if kind is bool else isinstance(value, NUMBERS if kind is float else kind)
    if not fits or (kind is not bool and isinstance(value, bool)):
        raise FormatError(f"{where}: expected {_kind(pattern)}, came {_kind(value)}")


def _kind(value: Any) -> str:
    return f"a tensor of {shape(value)}" if isinstance(value, torch.Tensor) else kind_of(value)
