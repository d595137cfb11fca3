"""`stepper`: one page on which a network is walked through, forward, loss, backward, update, number by number."""

import html
import inspect
import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, cross_entropy
from blockprop.engine.plan import Node
from blockprop.errors import SettingError
from blockprop.learning.both_passes import BothPasses
from blockprop.learning.dense import Dense, dense
from blockprop.learning.formulas import formulas_of
from blockprop.learning.tensor_views import shown
from blockprop.reports.diagram import describe, diagram
from blockprop.saving.files import write_file

MOST_NODES = 200
CHECKED = 1e-4
"""Step of the central differences."""
LIVE = ("Sigmoid", "Tanh", "ReLU")
"""Activations that the page computes by itself."""


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
    lesson: bool | None = None,
    title: str = "",
) -> StepperPage:
    """A page on which one walks through both passes of a network at these inputs, node by node, forward and back.

    objective: by default the cross-entropy of the network's only output.   target: as the objective takes it.
    rate: μ of the update W ← W − μ ∂L/∂W that comes last.
    nodes: which ones to walk through, in a large network; by default all, at most 200.
    lesson: whether a lesson goes along; by default with the lecture's network.
    A small dense network with sigmoid, tanh or ReLU is computed in the page itself, and follows when a number is
    changed; of any other the page shows what was recorded here, in float64.
    Raises SettingError for more nodes than a page takes.
    """
    objective = objective or cross_entropy()
    chosen = _chosen(network, nodes)
    recording = BothPasses(network, inputs, objective, target)
    small = dense(recording.network, recording.trace) if nodes is None else None
    live = _live(small, recording) if small else None
    spec = str(network.meta.get("spec", ""))
    data = {
        "title": title or spec or f"a network of {len(network.nodes)} blocks",
        "rate": rate,
        "loss": float(recording.loss),
        "objective": repr(objective),
        "inputs": list(network.inputs),
        "outputs": list(network.outputs),
        "nodes": [_node(node, recording) for node in chosen],
        "tensors": {key: _tensors(recording, key) for key in _keys(chosen)},
        "parameters": {
            name: _parameter(recording, name, rate) for name in recording.network.parameters if _is_of(name, chosen)
        },
        "lossAfter": _loss_after(recording, rate),
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


def _is_of(name: str, chosen: Sequence[Node]) -> bool:
    return any(name.startswith(f"{node.name}.") for node in chosen)


def _node(node: Node, recording: BothPasses) -> dict[str, Any]:
    formulas = formulas_of(node.block)
    reached = any(step.name == node.name for step in recording.steps)
    return {
        "name": node.name,
        "block": repr(node.block),
        "about": describe(node.block),
        "inputs": list(node.inputs),
        "keys": list(node.keys),
        "parameters": [name for name in recording.network.parameters if name.startswith(f"{node.name}.")],
        "sentence": formulas.sentence,
        "forward": formulas.forward,
        "back": formulas.back,
        "source": {name: _source(node.block, name) for name in ("forward", "propagate", "gradients")},
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


def _tensors(recording: BothPasses, key: str) -> dict[str, Any]:
    """value, d, branches, and a central difference for an input."""
    value = recording.trace[key]
    found: dict[str, Any] = {"value": shown(value)}
    if key in recording.d:
        found["d"] = shown(recording.d[key], is_error=True)
        branches = recording.branches(key)
        if len(branches) > 1:
            found["branches"] = [{"from": name, "d": shown(d, is_error=True)} for name, d in branches]
        if key in recording.network.inputs:
            found["check"] = _difference(recording, key, value, recording.d[key])
    return found


def _parameter(recording: BothPasses, name: str, rate: float) -> dict[str, Any]:
    value = recording.network.parameters[name]
    d = recording.d.get(name, torch.zeros_like(value))
    return {
        "value": shown(value),
        "d": shown(d, is_error=True),
        "after": shown(value - rate * d),
        "check": _difference(recording, name, value, d),
    }


def _difference(recording: BothPasses, name: str, value: Tensor, d: Tensor) -> dict[str, Any]:
    """The central difference along the element with the largest derivative."""
    if not d.numel():
        return {}
    place = int(d.abs().argmax())
    step = CHECKED * max(1.0, abs(float(value.reshape(-1)[place])))
    losses = []
    for sign in (1, -1):
        moved = value.clone(memory_format=torch.contiguous_format)
        moved.view(-1)[place] += sign * step
        losses.append(recording.loss_with({name: moved}))
    index = [int(i) for i in torch.unravel_index(torch.tensor(place), value.shape)]
    return {"index": index, "found": (losses[0] - losses[1]) / (2 * step), "swept": float(d.reshape(-1)[place])}


def _loss_after(recording: BothPasses, rate: float) -> float:
    parameters = recording.network.parameters
    return recording.loss_with(
        {name: w - rate * recording.d[name] for name, w in parameters.items() if name in recording.d}
    )


def _live(small: Dense, recording: BothPasses) -> dict[str, Any] | None:
    """What the page needs to compute a small dense network by itself; None if it cannot."""
    if not (isinstance(recording.objective, cross_entropy) and recording.objective.is_plain):
        return None
    layers = []
    for i, layer in enumerate(small.layers):
        kind = type(recording.network.blocks[layer.activation_node]).__name__ if layer.activation_node else ""
        if kind not in ("", *LIVE):
            return None
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
    target = recording.target
    if not isinstance(target, Tensor) or target.is_floating_point():
        return None
    return {
        "x": small.layers[0].x,
        "layers": layers,
        "target": int(target.flatten()[0]),
        "input": recording.network.inputs[0],
    }


def _page(data: dict[str, Any], drawing: str) -> str:
    folder = Path(__file__).parent
    parts = {name: (folder / f"stepper.{name}").read_text("utf-8") for name in ("html", "css", "js")}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = parts["html"].replace("/*CSS*/", parts["css"]).replace("/*JS*/", parts["js"])
    page = page.replace("<!--DRAWING-->", drawing).replace("<!--TITLE-->", html.escape(str(data["title"])))
    return page.replace("/*DATA*/", text)
