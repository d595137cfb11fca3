"""States and checkpoints in which one thing is of another kind: refused by its place or gone on from, no crash."""

import copy
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.errors import BlockpropError, FormatError
from blockprop.saving.checkpoints import read_checkpoint, write_checkpoint
from tests.trust import damaged_states

RUNS: dict[str, tuple[str, Callable[[Path], None]]] = {
    **{name: (f"{name}.state", damaged_states.use_state) for name in damaged_states.STATES},
    "training": ("a.checkpoint", damaged_states.use_checkpoint),
}
ABOUT = ("version", "identity", "device", "start")
"""What a file says of its run, which is compared before all else."""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in leaves(item, (*path, key))] or [path]


def others(value: Any) -> list[Any]:
    """What may stand in its place, of other kinds, shapes and sizes."""
    if isinstance(value, Tensor):
        return [torch.zeros(3, 5, 7), value.long(), value.reshape(-1)[:-1], "__init__", None, [1]]
    if isinstance(value, bool) or value is None:
        return ["__init__", [1]]
    return [*([10**18, -5] if isinstance(value, int) else []), "__init__", {"a": 1}, torch.zeros(2)]


def put(state: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    *outer, last = path
    holder: Any = state
    for key in outer:
        holder = holder[key]
    if isinstance(holder, list) and value is put:
        holder.pop(last)
    elif value is put:
        del holder[last]
    else:
        holder[last] = value


@pytest.mark.parametrize("name", RUNS)
def test_one_thing_of_another_kind(name: str, tmp_path: Path) -> None:
    file, use = RUNS[name]
    (damaged_states.checkpoints if name == "training" else damaged_states.states)(tmp_path)
    path = tmp_path / file
    original = read_checkpoint(path)
    use(path)  # which is whole
    refusals, rng = 0, random.Random(name)
    for place in leaves({key: value for key, value in original.items() if key not in ABOUT}):
        holder: Any = original
        for key in place:
            holder = holder[key]
        for value in (*rng.sample(others(holder), 2), put):  # put stands for nothing at all
            state = copy.deepcopy(original)
            put(state, place, value)
            write_checkpoint(path, state)
            try:
                use(path)
            except BlockpropError as error:
                refusals += isinstance(error, FormatError) and "cannot resume" in str(error)
            except Exception as error:
                raise AssertionError(f"{place} = {value!r}: {type(error).__name__}: {error}") from error
    assert refusals > 20


@pytest.mark.parametrize("name", ABOUT[:3])
def test_what_a_file_says_of_its_run(name: str, tmp_path: Path) -> None:
    damaged_states.checkpoints(tmp_path)
    path = tmp_path / "a.checkpoint"
    original = read_checkpoint(path)
    for value in (None, [], {}, 3.5, {"a": {"a": [1]}}, put):
        state = copy.deepcopy(original)
        put(state, (name,), value)
        write_checkpoint(path, state)
        with pytest.raises(FormatError, match="cannot resume"):
            damaged_states.use_checkpoint(path)


@pytest.mark.parametrize("name", ["training", "maximize", "dream"])
@pytest.mark.parametrize(("left", "following"), [(624, 624), (2, 624), (624, 2**63), (0, 0), (-1, 3), (1, 625)])
def test_generators_that_would_read_behind_their_numbers(name: str, left: int, following: int, tmp_path: Path) -> None:
    """torch takes them, and gives what stands in memory there for random numbers."""
    file, use = RUNS[name]
    (damaged_states.checkpoints if name == "training" else damaged_states.states)(tmp_path)
    state, forged = read_checkpoint(tmp_path / file), 0
    for place in leaves(state):
        holder: Any = state
        for key in place:
            holder = holder[key]
        if isinstance(holder, Tensor) and holder.dtype == torch.uint8 and len(holder) == 5056:
            content = bytearray(holder.numpy().tobytes())
            content[8:12], content[16:24] = struct.pack("=i", left), struct.pack("=Q", following)
            holder.copy_(torch.frombuffer(content, dtype=torch.uint8))
            forged += 1
    assert forged
    write_checkpoint(tmp_path / file, state)
    with pytest.raises(FormatError, match=r"cannot resume, .*expected the state of a generator of random numbers"):
        use(tmp_path / file)
