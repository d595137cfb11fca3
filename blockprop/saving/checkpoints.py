"""Checkpoints: everything that a training run needs to go on as if it had never stopped, in one file. No pickle.

The states of torch's optimizers and schedulers are trees of numbers, lists, dicts and tensors. Here such a tree
becomes JSON in which each tensor is a name, beside the tensors by name; `files.write_tensors` keeps both.
"""

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from blockprop.errors import FormatError
from blockprop.saving.files import read_tensors, write_tensors

CHECKPOINT_FORMAT = "blockprop checkpoint 1"


def write_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write a tree of plain data and tensors atomically. Raises FormatError if it cannot be written."""
    tensors: dict[str, Tensor] = {}
    tree = _flattened(state, "", tensors)
    write_tensors(path, tensors, {"format": CHECKPOINT_FORMAT, "state": tree})


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote. Raises FormatError naming the file if it is damaged or something else."""
    tensors, document = read_tensors(path)
    if document.get("format") != CHECKPOINT_FORMAT:
        raise FormatError(f"{path}: expected a training checkpoint; this file holds something else")
    try:
        state = _restored(document["state"], tensors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: the checkpoint is damaged ({error!r})") from None
    if not isinstance(state, dict):
        raise FormatError(f"{path}: the checkpoint is damaged (no state in it)")
    return state


def _flattened(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The tree with tensors replaced by {"$tensor": name}, and dicts whose keys are not text by pairs."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Counter):
        return {"$counter": [[key, count] for key, count in value.items()]}
    if isinstance(value, Mapping):
        items = [(key, _flattened(item, f"{name}/{key}", tensors)) for key, item in value.items()]
        return dict(items) if all(isinstance(key, str) for key in value) else {"$pairs": [list(pair) for pair in items]}
    if isinstance(value, list | tuple):
        return [_flattened(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
    return value


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$counter" in value:
        return Counter(dict(value["$counter"]))
    if "$pairs" in value:
        return {key: _restored(item, tensors) for key, item in value["$pairs"]}
    return {key: _restored(item, tensors) for key, item in value.items()}
