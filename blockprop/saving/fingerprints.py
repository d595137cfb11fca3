"""What tells one thing from another, to be written down and compared later: digests, and plain descriptions."""

import functools
import hashlib
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.saving.files import plain

AT_ONCE = 2**22
"""Numbers that a digest reads at a time."""
DEPTH = 6
"""How far a description looks into things that hold things."""


def digest(numbers: Tensor) -> str:
    """What tells these numbers from others: their shape, and 16 hexadecimal digits."""
    total = hashlib.sha256()
    for part in _parts(numbers):
        total.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"{list(numbers.shape)} {total.hexdigest()[:16]}"


def _parts(numbers: Tensor) -> Iterator[Tensor]:
    """Some rows at a time, which may be made only when they are taken."""
    if numbers.dim() < 2:
        yield numbers
        return
    rows = max(1, AT_ONCE // max(1, numbers[:1].numel()))
    for first in range(0, len(numbers), rows):
        yield numbers[first : first + rows]


def fingerprint(network: Network) -> str:
    """16 hexadecimal digits that two networks share if their graphs, settings, weights and buffers are equal.

    The first of SHA-256 over the graph as JSON, then each tensor's name, dtype, shape and bytes, sorted by name; `meta`
    and the device do not count. Raises FormatError if a block's settings are not plain data.
    """
    keys = {id(block): name for name, block in network.unique_blocks.items()}
    nodes = [
        (node.name, keys[id(node.block)], type(node.block).__name__, plain(node.block.settings, node.name), node.inputs)
        for node in network.nodes
    ]
    total = hashlib.sha256(json.dumps([nodes, network.inputs, network.outputs], sort_keys=True).encode())
    for name, tensor in sorted(network.state.items()):
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def architecture(network: Network) -> dict[str, Any]:
    """The graph without its numbers: each node's block and settings, and what it reads."""
    keys = {id(block): name for name, block in network.unique_blocks.items()}
    nodes = {
        f"node {node.name!r}": described(node.block) | {"block": keys[id(node.block)], "reads": list(node.inputs)}
        for node in network.nodes
    }
    return {"list of nodes": list(nodes)} | nodes | {"inputs": list(network.inputs), "outputs": list(network.outputs)}


def described_objective(objective: Objective) -> dict[str, Any]:
    """What it is called, and the factor and settings of each term."""
    title = re.sub(r" at 0x[0-9a-f]+", "", repr(objective))
    return {"kind": title, "terms": [[factor, described(term)] for factor, term in objective.terms]}


def described(value: Any, depth: int = DEPTH) -> Any:
    """A value as plain data that is the same whenever the same program makes it, and another for another value.

    Tensors by their digest; functions by their name, their code (this package's by name alone), and the plain values
    that they take from outside; other objects by the names of their classes and what they hold.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor | np.ndarray):
        return _numbers(torch.as_tensor(value))
    if isinstance(value, type | types.BuiltinFunctionType):
        return value.__qualname__
    if depth == 0:
        return type(value).__qualname__
    return _opened(value, depth - 1)


def _opened(value: Any, depth: int) -> Any:
    """The description of something that holds others."""
    if isinstance(value, Mapping):
        return {str(key): described(item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item, depth) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(str(described(item, depth)) for item in value)
    if isinstance(value, Network):
        return {"network": architecture(value), "numbers": described(value.state, depth)}
    if isinstance(value, Block):
        return {"kind": type(value).__qualname__, **described(value.settings, depth)}
    if isinstance(value, types.MethodType):
        return described([value.__self__, value.__func__], depth)
    if isinstance(value, types.FunctionType):
        return _function(value, depth)
    if isinstance(value, functools.partial):
        return ["partial", *described([value.func, value.args, value.keywords], depth)]
    return {"kind": type(value).__qualname__, **described(getattr(value, "__dict__", {}), depth)}


def _numbers(tensor: Tensor) -> Any:
    """A few numbers as they are, to be read in a message; more of them as a digest."""
    return tensor.tolist() if tensor.numel() <= 16 else f"{tensor.dtype} {digest(tensor)}"


def _function(function: types.FunctionType, depth: int) -> dict[str, Any]:
    code, cells = function.__code__, function.__closure__ or ()
    outside = {name: function.__globals__.get(name) for name in code.co_names}
    seen = {name: value for name, value in outside.items() if isinstance(value, bool | int | float | str)}
    closed = {name: _content(cell) for name, cell in zip(code.co_freevars, cells, strict=True)}
    return {
        "function": function.__qualname__,
        "code": "" if function.__module__.startswith("blockprop.") else _digest_of(code),
        "values": described(seen | closed, depth),
        "defaults": described([function.__defaults__, function.__kwdefaults__], depth),
    }


def _digest_of(code: types.CodeType) -> str:
    constants = [_constant(constant) for constant in code.co_consts]
    return hashlib.sha256(repr([code.co_code, constants, code.co_names]).encode()).hexdigest()[:16]


def _constant(constant: Any) -> str:
    if isinstance(constant, types.CodeType):
        return _digest_of(constant)
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was put into it yet
        return None
