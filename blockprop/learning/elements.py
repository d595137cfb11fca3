"""Single elements by name: "fc1.weight[0,1]", "x[2]", "relu1[0,3]"."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from blockprop.engine.briefly import brief
from blockprop.engine.network import Network
from blockprop.engine.trace import Trace
from blockprop.errors import SettingError, did_you_mean, listed, shape

INDEX = re.compile(r"^(?P<name>.+?)\s*\[(?P<index>[^\[\]]*)\]$", re.DOTALL)


@dataclass(frozen=True)
class Element:
    """One element of a parameter, an input, or an inner node's output."""

    name: str
    index: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def at(cls, name: str, flat: int, tensor: Tensor) -> "Element":
        """The element with this number, row by row, of a tensor of this name."""
        index = torch.unravel_index(torch.tensor(flat), tensor.shape) if tensor.dim() else ()
        return cls(name, tuple(int(i) for i in index), tuple(tensor.shape))

    @property
    def flat(self) -> int:
        """Its number, row by row."""
        flat = 0
        for place, size in zip(self.index, self.sizes, strict=True):
            flat = flat * size + place
        return flat

    def __str__(self) -> str:
        return f"{self.name}[{','.join(str(place) for place in self.index)}]" if self.index else self.name


def element_named(text: str, network: Network, trace: Trace) -> Element:
    """The element that a text names: a parameter, input or node, and the place in it from 0 on.

    With a single example its number may be left out: "x[2]" is "x[0,2]". SettingError for what does not exist.
    """
    if not isinstance(text, str) or not text.strip():
        first = next(iter([*network.parameters, *network.keys]))
        raise SettingError(f"expected the name of an element, as {first}[…], came {brief(text)}")
    name, written = _parted(text, network)
    tensor = network.parameters[name] if name in network.parameters else trace[name]
    sizes = tuple(tensor.shape)
    if not tensor.is_floating_point():
        raise SettingError(f"{text}: {name} holds {tensor.dtype} numbers, and there is no derivative by them")
    if written is None:
        if tensor.numel() != 1:
            raise SettingError(f"{text}: say which element, as {_range(name, tensor)}")
        return Element(name, (0,) * len(sizes), sizes)
    try:
        index = [int(place) for place in written.split(",")] if written.strip() else []
    except ValueError:
        raise SettingError(f"{text}: expected whole numbers between the brackets, as {_range(name, tensor)}") from None
    if len(index) == len(sizes) - 1 and name not in network.parameters and sizes[0] == 1:
        index = [0, *index]
    if len(index) != len(sizes):
        raise SettingError(f"{text}: expected {len(sizes)} numbers between the brackets, as {_range(name, tensor)}")
    if any(not -size <= place < size for place, size in zip(index, sizes, strict=True)):
        raise SettingError(f"{text} does not exist: {_range(name, tensor)}")
    return Element(name, tuple(place % size for place, size in zip(index, sizes, strict=True)), sizes)


def _parted(text: str, network: Network) -> tuple[str, str | None]:
    """(name, what stands between the brackets behind it)."""
    names = [*network.inputs, *network.parameters, *(key for key in network.keys if key not in network.inputs)]
    if text in names:
        return text, None
    match = INDEX.match(text.strip())
    name, written = (match["name"], match["index"]) if match else (text, None)
    if name not in names:
        raise SettingError(f"{text}: the network has no {name!r}; it has {listed(names)}{did_you_mean(name, names)}")
    return name, written


def _range(name: str, tensor: Tensor) -> str:
    if not tensor.dim():
        return f"{name}, which is one number"
    first = ",".join("0" for _ in tensor.shape)
    last = ",".join(str(size - 1) for size in tensor.shape)
    return f"{name} is {shape(tensor)}, from {name}[{first}] to {name}[{last}]"
