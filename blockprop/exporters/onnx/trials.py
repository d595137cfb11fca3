"""What goes through the network when it is run: shapes and types of number of all values, in two trials.

The trials run on torch's "meta" device (sizes without numbers, so they cost nothing), with different sizes of the
network's free axes. An axis that has another size in the second trial is free.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, SettingError, suggestion

BATCH = 3
"""Examples in the first trial, if the batch is free."""
BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Examples that are tried if it is not free."""
FACTORS = (3, 2, 5, 7)
"""By how much the second trial enlarges the free sizes, each by another factor if the network can."""
KINDS = (None, torch.int64, torch.bool)
"""Types of number that an input may have; None for that of the parameters."""
MOST_TRIES = 200

InputAxis = tuple[str, int]
InputShapes = Mapping[str, Sequence[int] | Tensor]
Example = Sequence[int] | Sequence[Sequence[int] | Tensor] | Tensor | InputShapes | None


class Trials(NamedTuple):
    """values: of each input and output of a node, in both trials   free: names of the free axes of the inputs"""

    values: dict[str, tuple[Tensor, Tensor]]
    free: dict[InputAxis, str]


def run_trials(network: Network, shape: Example) -> Trials:
    """Run the network twice. SettingError if the shapes are not known; the blocks' errors if they do not fit."""
    examples = _given(network, shape)
    twin = network.weightless()
    first = _first_trial(network, twin, examples)
    free = [
        (name, axis)
        for name in network.inputs
        for axis in _free(network, name)
        if -len(first[name].shape) <= axis < len(first[name].shape)
    ]
    second, varying = _second_trial(twin, first, free)
    keys = network.keys
    one, two = twin.forward(*first.values()), twin.forward(*second.values())
    values = {key: (one[key], two[key]) for key in keys}
    return Trials(values, _named(twin, varying, first))


def _given(network: Network, shape: Example) -> dict[str, Sequence[int] | Tensor]:
    """One example's shape, or whole tensors, for each input."""
    if shape is None:
        shape_in_meta = network.meta.get("shape")
        examples: Any = {network.inputs[0]: shape_in_meta} if shape_in_meta and network.inputs else {}
    elif isinstance(shape, Mapping):
        examples = dict(shape)
    elif isinstance(shape, Tensor) or all(isinstance(size, int) for size in shape):
        examples = {network.inputs[0]: shape} if network.inputs else {}
    else:
        examples = dict(zip(network.inputs, shape, strict=False))
    for name in examples:
        if name not in network.inputs:
            raise SettingError(f"shape: the network has no input {name!r}{suggestion(name, network.inputs)}")
    missing = [name for name in network.inputs if name not in examples]
    if missing:
        wanted = "shape=(3, 224, 224)" if len(network.inputs) == 1 else f"shape={{{missing[0]!r}: (3, 224, 224), …}}"
        raise SettingError(
            f"the network does not say what shape {' and '.join(map(repr, missing))} has: pass one example's shape, "
            f"without the batch, such as {wanted}"
        )
    for name, size in examples.items():
        if not isinstance(size, Tensor) and not all(isinstance(n, int) and n > 0 for n in size):
            raise SettingError(f"shape: expected sizes of at least 1 for {name!r}, came {size!r}")
    return {name: examples[name] for name in network.inputs}


def _first_trial(network: Network, twin: Network, examples: Mapping[str, Sequence[int] | Tensor]) -> dict[str, Tensor]:
    """The inputs with types of number and a batch with which the network runs: of real numbers, if it can be."""
    dtype = next((p.dtype for p in network.parameters.values() if p.is_floating_point()), torch.float32)
    first_error: BlockpropError | None = None
    for batch in _batches(network, examples):
        for kinds in _kinds(examples):
            inputs = {
                name: x.detach().to("meta")
                if isinstance(x, Tensor)
                else torch.empty((batch, *x), dtype=kind or dtype, device="meta")
                for (name, x), kind in zip(examples.items(), kinds, strict=True)
            }
            try:
                twin.forward(*inputs.values())
            except BlockpropError as error:
                first_error = first_error or error
            else:
                return inputs
    assert first_error is not None
    raise first_error


def _batches(network: Network, examples: Mapping[str, Sequence[int] | Tensor]) -> Sequence[int]:
    if all(isinstance(x, Tensor) for x in examples.values()):
        return (1,)
    sizes = network.meta.get("sizes", {})
    for name in examples:
        batch, *_ = sizes.get(name) or [None]
        if batch is not None:
            return (batch,)  # the only one with which it is right
    named = [x.shape[0] for x in examples.values() if isinstance(x, Tensor) and x.dim()]
    fixed = any(0 not in _free(network, name) for name in examples)
    return named[:1] or (BATCHES if fixed else (BATCH,))


def _kinds(examples: Mapping[str, Sequence[int] | Tensor]) -> Iterator[tuple[Any, ...]]:
    """Types of number for all inputs, those with the most real numbers first."""
    choices = [(None,) if isinstance(x, Tensor) else KINDS for x in examples.values()]
    combinations = itertools.islice(itertools.product(*choices), MOST_TRIES)
    return iter(sorted(combinations, key=lambda kinds: sum(kind is not None for kind in kinds)))


def _free(network: Network, name: str) -> Sequence[int]:
    free = network.meta.get("free")
    return (0,) if not isinstance(free, Mapping) else free.get(name) or ()


def _second_trial(
    twin: Network, first: dict[str, Tensor], free: Sequence[InputAxis]
) -> tuple[dict[str, Tensor], list[InputAxis]]:
    """(inputs with other sizes of the free axes, the axes that could be varied)"""
    sizes = sorted({(axis if not axis else 1, first[name].shape[axis]) for name, axis in free})
    factors = dict(zip(sizes, itertools.cycle(FACTORS)))
    ways: list[Any] = [lambda place, n: n * factors[place], lambda _, n: 2 * n, lambda _, n: max(n // 2, 1)]
    ways += [lambda _, n: n + 1, lambda _, n: max(n - 1, 1), lambda _, n: n + 32]
    for change in ways:
        second = _changed(first, free, change)
        if _runs(twin, second):
            return second, [place for place in free if _differs(place, first, second)]
    second, varying = first, []
    for place in free:  # at least those that can be varied one by one
        for change in ways:
            wider = _changed(second, [place], change)
            if _differs(place, first, wider) and _runs(twin, wider):
                second = wider
                varying.append(place)
                break
    return second, varying


def _changed(inputs: dict[str, Tensor], free: Sequence[InputAxis], change: Any) -> dict[str, Tensor]:
    changed = {}
    for name, x in inputs.items():
        sizes = list(x.shape)
        for axis in [axis for other, axis in free if other == name]:
            sizes[axis] = change((axis if not axis else 1, sizes[axis]), sizes[axis])
        changed[name] = torch.empty(sizes, dtype=x.dtype, device="meta")
    return changed


def _differs(place: InputAxis, first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    name, axis = place
    return first[name].shape[axis] != second[name].shape[axis]


def _runs(twin: Network, inputs: dict[str, Tensor]) -> bool:
    try:
        twin.forward(*inputs.values())
    except BlockpropError:
        return False
    return True


def _named(twin: Network, free: Sequence[InputAxis], first: dict[str, Tensor]) -> dict[InputAxis, str]:
    """ "batch", "height" and "width", or the input's name and the axis. Axes of different sizes get different names."""
    titles: dict[InputAxis, str] = {}
    sizes: dict[str, int] = {}
    for name, axis in free:
        usual = {0: "batch"} | ({2: "height", 3: "width"} if first[name].dim() == 4 else {})
        title = usual.get(axis) or _like(twin, (name, axis), free, titles, first) or f"{name}_{axis}"
        size = first[name].shape[axis]
        if sizes.setdefault(title, size) != size:
            title = f"{name}_{title}"
        titles[name, axis] = title
    return titles


def _like(
    twin: Network, place: InputAxis, free: Sequence[InputAxis], named: Mapping[InputAxis, str], first: dict[str, Tensor]
) -> str | None:
    """The name of another input's axis, if this one can only vary together with those of its size."""
    size = first[place[0]].shape[place[1]]
    others = [other for other in free if other[0] != place[0] and first[other[0]].shape[other[1]] == size]
    names = [named[other] for other in others if other in named]
    if not names or _runs(twin, _changed(first, [place], lambda _, n: n + 1)):
        return None
    return names[0] if _runs(twin, _changed(first, [place, *others], lambda _, n: n + 1)) else None
