"""What is looked at: a class, a node, a channel, a unit or a direction, as an objective.

    objective = score(network, "goose") - 0.5 * score(network, "fire5:17")
    value, seeds = objective.evaluate({name: trace[name] for name in objective.nodes})

The kinds of scores are in score_kinds.py.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockprop.blocks import LogSoftmax, Softmax
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, WeightedSum
from blockprop.engine.plan import Node
from blockprop.errors import (
    BlockpropWarning,
    GraphError,
    SettingError,
    ShapeError,
    did_you_mean,
    listed,
    no_such,
    shape,
    suggestion,
)
from blockprop.visualize.objectives.class_names import all_names, find_class
from blockprop.visualize.objectives.score_kinds import ClassScore, Direction, Score, TopScore, UnitScore

Target = Any
"""int, str, (node, Tensor), Objective, a sequence of these, or a mapping of int and str to weights; see `score`."""


def score(network: Network, target: Target = "top", output: str | None = None) -> Objective:
    """What is looked at, as an objective: its value is the score, summed over the examples.

    target: a class, by number or name (see class_names.py): its score, before softmax if the network ends with one
        whole numbers (n,), a tensor or array: the class of each of n examples
        "top", "top3": each example's own best class or three classes, decided when evaluated
        "node": the mean of all that a node gives;  "node:channel": of one channel;  "node:channel,y,x": one unit
        "3": the class of this name, or else number; a node that is called as a class is called, or by a number: "3:"
        (node, direction): the mean over all places of Σ_c direction_c y_c, or with a direction of an example's shape
            the product Σ direction · y
        several of these: their sum;  {"goose": 1, "fire5:17": -0.5}: their weighted sum
    output: which of the network's outputs holds the scores of the classes, if it has several.
    The class axis is axis 1, or the only one longer than 1; the mean is taken over further axes.
    Raises SettingError and GraphError for unknown names, with near ones.
    """
    if isinstance(target, Objective):
        return target
    if isinstance(target, Tensor | np.ndarray | np.generic):
        target = _labels(torch.as_tensor(target))
    if isinstance(target, Tensor):
        return ClassScore(scores_node(network, output), "labels", target, _classes(network))
    if isinstance(target, str):
        return _by_name(network, target, output)
    if isinstance(target, int) and not isinstance(target, bool):
        return _class(network, target, str(target), output)
    if isinstance(target, tuple) and len(target) == 2 and isinstance(target[1], Tensor):
        node, direction = _node(network, target[0]), target[1]
        return Direction(node, f"{node} in a direction of {shape(direction)}", direction)
    if isinstance(target, Mapping) and target:
        return WeightedSum([(float(weight), score(network, part, output)) for part, weight in target.items()])
    if isinstance(target, Sequence) and target:
        return WeightedSum([(1.0, score(network, part, output)) for part in target])
    raise SettingError(f"expected a class, a node, (node, direction), or several of these as target, came {target!r}")


def _labels(target: Tensor) -> int | Tensor:
    """One class for all examples, or (n, 1): that of each. ShapeError for what is neither."""
    is_whole = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
    if not is_whole or target.dim() > 1 or not target.numel():
        came = f"{shape(target)} of {target.dtype}"
        raise ShapeError(f"expected as target one whole number, or (n,), a class for each picture; came {came}")
    return int(target) if target.dim() == 0 else target.detach().long().unsqueeze(1)


def require_clear(network: Network, target: Target, count: int) -> None:
    """SettingError for a list of classes with several pictures: their sum, or a class for each picture?"""
    if count < 2 or not isinstance(target, list | tuple | range) or len(target) < 2:
        return
    if all(_may_be_label(part, network) for part in target):
        weights = ", ".join(f"{part!r}: 1" for part in target)
        raise SettingError(
            f"for {count} pictures, {target!r} could mean a class for each of them or the sum of these classes: pass "
            f"torch.tensor(…) with the number of each picture's class, or {{{weights}}} for the sum"
        )


def _may_be_label(part: Any, network: Network) -> bool:
    if isinstance(part, str):
        return part.isdecimal() or not (part in network.keys or ":" in part or re.fullmatch(r"top\d*", part))
    return isinstance(part, int | np.integer) or (isinstance(part, Tensor) and part.dim() == 0)


def fixed(objective: Objective, outputs: Mapping[str, Tensor]) -> Objective:
    """The same objective with each example's best classes decided by these outputs."""
    if isinstance(objective, WeightedSum):
        return WeightedSum([(factor, fixed(term, outputs)) for factor, term in objective.terms])
    return objective.fixed(outputs[objective.node]) if isinstance(objective, Score) else objective


def channels(objective: Objective) -> dict[str, tuple[int, ...]]:
    """By node, the channels that it reads, for those of whose outputs it reads no others."""
    terms = [term for _, term in objective.terms] if isinstance(objective, WeightedSum) else [objective]
    read: dict[str, set[int] | None] = {}
    for term in terms:
        if not isinstance(term, Score):
            return {}
        numbers, before = term.channels(), read.get(term.node, set())
        read[term.node] = None if numbers is None or before is None else before | set(numbers)
    return {node: tuple(sorted(numbers)) for node, numbers in read.items() if numbers}


def values(objective: Objective, outputs: Mapping[str, Tensor]) -> Tensor:
    """(n,): the objective of each example by itself."""
    if isinstance(objective, WeightedSum):
        return torch.stack([factor * values(term, outputs) for factor, term in objective.terms]).sum(0)
    if isinstance(objective, Score):
        return objective.values(outputs[objective.node])
    count = len(next(iter(outputs.values())))
    rows = ({name: y[i : i + 1] for name, y in outputs.items()} for i in range(count))
    return torch.stack([torch.as_tensor(objective.evaluate(row)[0]) for row in rows])


def titles(objective: Objective, count: int) -> list[str]:
    """What is looked at in each of `count` examples, in words."""
    if isinstance(objective, WeightedSum):
        rows = zip(*(titles(term, count) for _, term in objective.terms), strict=True)
        factors = ["" if factor == 1 else f"{factor:g} * " for factor, _ in objective.terms]
        return [" + ".join(f"{a}{b}" for a, b in zip(factors, row, strict=True)) for row in rows]
    return objective.titles(count) if isinstance(objective, Score) else [repr(objective)] * count


def _by_name(network: Network, target: str, output: str | None) -> Objective:
    classes = _classes(network)
    if best := re.fullmatch(r"top(\d*)", target):
        count = int(best[1] or 1)
        if count < 1:
            raise SettingError(f"expected top1, top2, …, came {target!r}")
        return TopScore(scores_node(network, output), target, count, classes)
    if target.isdecimal():
        return _by_digits(network, target, output)
    is_class = target.casefold() in (title.casefold() for title in classes)
    if target in network.keys:
        if is_class:
            number = find_class(target, classes)
            raise SettingError(
                f"{target!r} names both a class and a node; give the class by its number, {number}, or the node with "
                f"a colon, '{target}:'"
            )
        return UnitScore(target, target)
    node, colon, unit = target.rpartition(":")
    if colon and not is_class:
        return _unit(_node(network, node), unit, target)
    number = find_class(target, classes)
    if number is None:
        near = did_you_mean(target, [*all_names(classes), *network.keys])
        nodes = "`blockprop info` tells its nodes" if classes else f"its nodes are {listed(_inner(network))}"
        raise SettingError(f"there is no class and no node {target!r}; {_named(classes)}; {nodes}{near}")
    return _class(network, number, target, output)


def _by_digits(network: Network, target: str, output: str | None) -> Objective:
    """ "3": the class of this name, or with this number, or else a node; what else it could be is said.

    BlockpropWarning then, with how to write the other.
    """
    classes, number = _classes(network), int(target)
    named = find_class(target, classes) if target in classes else None
    is_node = target in network.keys
    if named is None and is_node and classes and number >= len(classes):
        return UnitScore(target, f"node {target}")
    chosen = number if named is None else named
    others = [f"class number {number} is {classes[number]!r}"] if chosen != number and number < len(classes) else []
    others += [f"the node of this name is '{target}:'"] if is_node else []
    if others:
        name = f", {classes[chosen]}" if chosen < len(classes) and classes[chosen] != target else ""
        taken = f"the class {target}{name}" if chosen == number else f"the class of this name, number {chosen}"
        warnings.warn(f"the target {target} is {taken}; {'; '.join(others)}", BlockpropWarning, stacklevel=4)
    return _class(network, chosen, target, output)


def _unit(node: str, unit: str, title: str) -> UnitScore:
    """ "17" or "17,4,5"; with nothing behind the colon all that the node gives."""
    if not unit:
        return UnitScore(node, f"node {node}")
    numbers = unit.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise SettingError(f"expected node:channel or node:channel,y,x, came {title!r}")
    channel, *place = map(int, numbers)
    return UnitScore(node, title, channel, tuple(place) or None)


def _class(network: Network, number: int, title: str, output: str | None) -> ClassScore:
    classes = _classes(network)
    if number < 0 or (classes and number >= len(classes)):
        count = f"{len(classes)} classes, 0…{len(classes) - 1}" if classes else "classes from 0 on"
        raise SettingError(f"the network has {count}; there is no class {number}; {_named(classes)}")
    return ClassScore(scores_node(network, output), title, number, classes)


def _classes(network: Network) -> list[str]:
    return list(network.meta.get("classes") or ())


def _node(network: Network, name: Any) -> str:
    if name not in network.keys:
        raise GraphError(no_such("node", str(name), _inner(network)))
    return str(name)


def _named(classes: Sequence[str]) -> str:
    """The network's classes by name, or as many as an error can hold."""
    if not classes:
        return "the network has no names of classes, so give their numbers"
    return f"its classes are {listed([title.split(',')[0] for title in classes])}"


def _inner(network: Network) -> list[str]:
    return [key for key in network.keys if key not in network.inputs]


def scores_node(network: Network, output: str | None = None) -> str:
    """The node that gives the scores of the classes: the network's output, or what goes into the softmax at its end.

    What only arranges the numbers anew may come after the softmax.
    Raises SettingError if the network has several outputs and none is chosen.
    """
    if output is None and len(network.outputs) != 1:
        names = ", ".join(network.outputs)
        raise SettingError(f"the network has {len(network.outputs)} outputs ({names}); say which one holds the classes")
    if output is not None and output not in network.outputs:
        raise SettingError(f"{output!r} is no output of the network{suggestion(output, network.outputs)}")
    end = network.outputs[0] if output is None else output
    softmax = softmax_at(network, end)
    return softmax.inputs[0] if softmax else end


def softmax_at(network: Network, output: str) -> Node | None:
    """The softmax, or its logarithm, that gives an output; what only arranges the numbers anew may come after it."""
    producers = {key: node for node in network.nodes for key in node.keys}
    node = producers.get(output)
    while node is not None and node.block.arranges:
        node = producers.get(node.inputs[0])
    return node if node is not None and isinstance(node.block, Softmax | LogSoftmax) else None


def gives_classes(network: Network, node: str, count: int) -> bool:
    """Whether the `count` numbers that a node gives for each example are of classes, and no other kind of numbers.

    So they are if as many classes have names, or if a network without names makes them probabilities at its end.
    """
    names = _classes(network)
    if names:
        return len(names) == count
    ends = [softmax_at(network, output) for output in network.outputs]
    return softmax_at(network, node) is not None or any(end is not None and node in end.inputs for end in ends)
