"""`stepper`: one page on which a network is walked through, forward, loss, backward, update, number by number."""

import html
import inspect
import json
import os
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.asked import real, texts
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy
from blockprop.engine.plan import Node
from blockprop.errors import SettingError
from blockprop.learning.both_passes import STEP, BothPasses
from blockprop.learning.checks import checks
from blockprop.learning.dense import PHI, Dense, dense
from blockprop.learning.elements import Element, element_named
from blockprop.learning.filled_in import filled_in
from blockprop.learning.formulas import formulas_of
from blockprop.learning.prices import prices
from blockprop.learning.tensor_views import rounded, shown, side_for
from blockprop.reports.diagram import describe, diagram
from blockprop.saving.files import write_file

MOST_NODES = 200
PLACES = re.compile(r"/\*(?:CSS|JS|DATA)\*/|<!--(?:DRAWING|TITLE)-->")
"""Of the page's HTML, where something is filled in."""
METHODS = ("forward", "propagate", "gradients")


@dataclass(frozen=True)
class StepperPage:
    """The page: `html` is all of it. It loads nothing, and runs from a file."""

    html: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, whole or not at all."""
        write_file(Path(path), self.html)

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self.html)}" width="100%" height="760" style="border:0"></iframe>'


@torch.no_grad()
def stepper(
    network: Network,
    *inputs: Tensor,
    target: Any = None,
    objective: Objective | None = None,
    rate: float = 0.1,
    nodes: Sequence[str] | None = None,
    check: Sequence[str] = (),
    lesson: bool | None = None,
    title: str = "",
) -> StepperPage:
    """A page on which one walks through both passes of a network at these inputs, node by node, forward and back.

    objective: by default the cross-entropy of the network's only output.   target: as the objective takes it.
    rate: μ of the update W ← W − μ ∂L/∂W that comes last.
    nodes: which ones to walk through, in a large network; by default all, at most 200.
    check: derivatives to compare with central differences, as "conv1.weight[0,0,1,2]", beside those that always are:
        all of a small dense network, of any other the largest by each tensor, and all that are shown if that is cheap.
    lesson: whether a lesson goes along; by default with the lecture's network.
    A small dense network with sigmoid, tanh or ReLU is computed in the page itself, and follows when a number is
    changed; of any other the page shows what was recorded here, in float64.
    Raises SettingError for more nodes than a page takes, and for elements that it does not show.
    """
    rate = real(rate, "a rate of at least 0", least=0)
    nodes = None if nodes is None else texts("nodes", nodes, "fc1")
    objective = cross_entropy() if objective is None else objective
    recording = BothPasses(network, inputs, objective, target)
    chosen = _chosen(recording.network, nodes)
    small = dense(recording.network, recording.trace) if nodes is None else None
    live = _live(small, recording) if small else None
    spec = str(network.meta.get("spec", ""))
    keys, side = _keys(chosen), side_for(recording.trace[key] for key in _keys(chosen))
    parameters = dict.fromkeys(name for node in chosen for name in _own(node, recording))
    shown_names = [name for name in (*keys, *parameters) if name in recording.d]
    asked = _asked(recording, shown_names, texts("check", check, f"{recording.inputs[0]}[0]"))
    sources = list(dict.fromkeys(_source(node.block, method) for node in chosen for method in METHODS))
    data = {
        "title": str(title or spec or f"a network of {len(network.nodes)} blocks"),
        "rate": rate,
        "loss": rounded(float(recording.loss), True),
        "objective": repr(objective),
        "inputs": list(network.inputs),
        "outputs": list(network.outputs),
        "nodes": [_node(node, recording, sources) for node in chosen],
        "sources": sources,
        "all": len(network.nodes),
        "tensors": {key: _tensors(recording, key, side) for key in keys},
        "parameters": {name: _parameter(recording, name, rate) for name in parameters},
        **(
            {"checks": {}, "derivatives": {}, "values": {}} if live else _found_out(recording, keys, shown_names, asked)
        ),
        "step": STEP,
        "lossAfter": rounded(_loss_after(recording, rate), True),
        "live": live,
        "lesson": spec.startswith("lecture") and live is not None if lesson is None else lesson and live is not None,
    }
    drawing = "" if live else diagram(_part(chosen), None)
    return StepperPage(_page(data, drawing))


def _chosen(network: Network, names: Sequence[str] | None) -> list[Node]:
    known = {node.name: node for node in network.nodes}
    for name in names or ():
        if name not in known:
            raise SettingError(f"the network has no node {name!r}")
    chosen = [node for node in network.nodes if names is None or node.name in names]
    if not chosen:
        raise SettingError("a page of no nodes has nothing to show")
    if len(chosen) > MOST_NODES:
        raise SettingError(
            f"a page takes up to {MOST_NODES} nodes, this network has {len(chosen)}; choose some with nodes=, such as "
            f"the last ones: {', '.join(node.name for node in chosen[-3:])}"
        )
    return chosen


def _part(chosen: Sequence[Node]) -> Network:
    """The chosen nodes as a network of their own; what they take from others are its inputs."""
    made = {key for node in chosen for key in node.keys}
    inputs = dict.fromkeys(key for node in chosen for key in node.inputs if key not in made)
    return Network(chosen, tuple(inputs))


def _keys(chosen: Sequence[Node]) -> list[str]:
    return list(dict.fromkeys(key for node in chosen for key in (*node.inputs, *node.keys)))


def _own(node: Node, recording: BothPasses) -> list[str]:
    """The parameters of a node's block, by the names that they have in the network."""
    own = {id(tensor) for tensor in node.block.parameters.values()}
    return [name for name, tensor in recording.network.parameters.items() if id(tensor) in own]


def _node(node: Node, recording: BothPasses, sources: list[str]) -> dict[str, Any]:
    formulas = formulas_of(node.block)
    reached = any(step.name == node.name for step in recording.steps)
    return {
        "name": node.name,
        "block": repr(node.block),
        "about": describe(node.block),
        "inputs": list(node.inputs),
        "keys": list(node.keys),
        "parameters": _own(node, recording),
        "sharing": [other.name for other in recording.network.nodes if other.block is node.block],
        "sentence": formulas.sentence,
        "forward": formulas.forward,
        "back": formulas.back,
        "source": {method: sources.index(_source(node.block, method)) for method in METHODS},
        "reached": reached,
    }


def _source(block: Block, method: str) -> str:
    """The lines that compute it; "" if there are none of its own, or nobody knows them."""
    function = getattr(type(block), method)
    if function is getattr(Block, method):
        return ""
    try:
        return textwrap.dedent(inspect.getsource(function)).strip()
    except (OSError, TypeError):
        return ""


def _tensors(recording: BothPasses, key: str, side: int) -> dict[str, Any]:
    """value, d, and what each branch adds to it."""
    found: dict[str, Any] = {"value": shown(recording.trace[key], side=side)}
    if key in recording.d:
        found["d"] = shown(recording.d[key], True, side)
        branches = recording.branches(key)
        if len(branches) > 1:
            found["branches"] = [{"from": name, "d": shown(d, True, side)} for name, d in branches]
    return found


def _parameter(recording: BothPasses, name: str, rate: float) -> dict[str, Any]:
    value = recording.tensor(name)
    d = recording.d[name]
    return {"value": shown(value), "d": shown(d, is_error=True), "after": shown(value - rate * d)}


def _found_out(
    recording: BothPasses, keys: Sequence[str], names: Sequence[str], asked: Sequence[Element]
) -> dict[str, Any]:
    """What a page cannot compute itself, beyond the two passes."""
    costs = prices(recording)
    return {"checks": checks(recording, names, asked, costs), **filled_in(recording, names, keys, costs)}


def _asked(recording: BothPasses, names: Sequence[str], given: Sequence[str]) -> list[Element]:
    """The elements whose derivatives are to be checked."""
    elements = [element_named(name, recording.network, recording.trace) for name in given]
    for name, element in zip(given, elements, strict=True):
        if element.name not in names:
            raise SettingError(f"{name} cannot be checked: the page shows no derivative by {element.name}")
    return elements


def _loss_after(recording: BothPasses, rate: float) -> float:
    parameters = recording.network.parameters
    return recording.loss_with({name: w - rate * recording.d[name] for name, w in parameters.items()})


def _live(small: Dense, recording: BothPasses) -> dict[str, Any] | None:
    """What the page needs to compute a small dense network by itself; None if it cannot."""
    target = recording.target
    if not small.is_scored_by(recording.objective) or not isinstance(target, Tensor) or target.is_floating_point():
        return None
    if not all(tensor.isfinite().all() for tensor in (recording.trace.output, *recording.network.parameters.values())):
        return None
    layers = []
    for i, layer in enumerate(small.layers):
        activation = type(recording.network.blocks[layer.activation_node]) if layer.activation_node else None
        if activation not in (None, *PHI):
            return None
        kind = activation.__name__ if activation else ""
        weight, bias, before, after, number = small.letters[i]
        layers.append(
            {
                "node": layer.node,
                "activation": layer.activation_node,
                "kind": kind,
                "weight": layer.weight,
                "bias": layer.bias,
                "letters": {"weight": weight, "bias": bias, "before": before, "after": after, "number": number},
            }
        )
    return {
        "x": small.layers[0].x,
        "layers": layers,
        "target": int(target.flatten()[0]),
        "input": recording.network.inputs[0],
    }


def _page(data: dict[str, Any], drawing: str) -> str:
    folder = Path(__file__).parent
    parts = {name: (folder / f"stepper.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    filled = {"/*CSS*/": parts["css"], "/*JS*/": parts["js"], "/*DATA*/": text, "<!--DRAWING-->": drawing}
    filled["<!--TITLE-->"] = html.escape(str(data["title"]))
    return PLACES.sub(lambda place: filled[place[0]], parts["html"])  # in one go: what is filled in stays as it is
