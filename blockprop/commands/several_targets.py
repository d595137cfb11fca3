"""Which classes, layers and channels are meant where one word stands for several of them."""

import re
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from blockprop.blocks import Add, Concat, ReLU
from blockprop.commands.options import MOST_PICTURES
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.saving.files import short
from blockprop.visualize.maximize import picture_size
from blockprop.visualize.objectives.scores import Target, score

Name = TypeVar("Name")


def expanded(network: Network, targets: Sequence[str], most: int, output: str | None = None) -> list[str | int]:
    """The targets one by one: "layers", "classes", and ranges such as 0-9 and fire5:0-15 stand for several.

    Numbers are those of classes.

    Raises SettingError and GraphError for unknown ones, before any work is done.
    """
    names: list[str | int] = []
    for text in targets:
        if text == "layers":
            names += _spread([f"{name}:" if name.isdecimal() else name for name in layers(network)], most)
        elif text == "classes":
            count = len(network.meta.get("classes") or ())
            if not count:
                raise SettingError("the network has no names of classes; give their numbers, such as 0-9")
            names += _spread(range(count), most)
        elif span := re.fullmatch(r"(.*:)?(\d{1,18})-(\d{1,18})", text):
            first, last = int(span[2]), int(span[3])
            if not first <= last < first + MOST_PICTURES:
                raise SettingError(
                    f"{short(text)}: expected the smaller number first, and at most {MOST_PICTURES:,} pictures"
                )
            numbers = range(first, last + 1)
            names += [f"{span[1]}{number}" for number in numbers] if span[1] else numbers
        else:
            names.append(text)
    names = list(dict.fromkeys(names))
    if not names:
        raise SettingError("expected at least one class, layer or channel, came none")
    _try_out(network, names, output)
    return names


def _try_out(network: Network, names: Sequence[Target], output: str | None) -> None:
    """Look at every target once, in a black picture."""
    objectives = [score(network, name, output) for name in names]
    nodes = dict.fromkeys(node for objective in objectives for node in objective.nodes)
    trace = network.forward(_black(network), keep=tuple(nodes))
    for objective in objectives:
        objective.evaluate({node: trace[node] for node in objective.nodes})


def _black(network: Network) -> Tensor:
    channels = int((network.meta.get("shape") or [3])[0])
    return fitting(torch.zeros(1, channels, *picture_size(network)), network)


def _spread(names: Sequence[Name], most: int) -> list[Name]:
    """At most so many of them, at equal distances."""
    count = min(most, len(names))
    return [names[i * len(names) // count] for i in range(count)]


def layers(network: Network) -> list[str]:
    """The nodes that rectify or join maps with height and width; all such nodes if there are none that do."""
    trace = network.forward(_black(network), keep=network.keys)
    maps = [key for key in network.keys if trace[key].dim() == 4 and min(trace[key].shape[2:]) > 1]
    blocks = {key: node.block for node in network.nodes for key in node.keys}
    inside = [key for key in maps if key in blocks and not key.startswith("picture.")]
    if not inside:
        raise SettingError("the network has no layers with height and width")
    joined = [key for key in inside if isinstance(blocks[key], Concat | Add)]
    rectified = [key for key in inside if isinstance(blocks[key], ReLU)]
    return joined if len(joined) > 3 else rectified or inside
