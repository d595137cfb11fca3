"""Grad-CAM: where the channels of an inner node speak for the target."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.passes import run_forward
from blockprop.engine.plan import ForwardStep, RuleMap, plan_forward
from blockprop.errors import GraphError, SettingError, shape, suggestion
from blockprop.visualize.attribution.question import Answer, Question


def grad_cam(question: Question, x: Tensor, rules: RuleMap | None = None, node: str | None = None) -> Answer:
    """The node's channels, each weighed by its mean gradient:  Σ_k α_k A_k  with  α_k = mean over places of ∂S/∂A_k.

    The attribution is (n, 1, h, w), signed, and the map what is positive of it; both scaled bilinearly to the
    picture's size.
    node: by default the last one with height and width on the way to the target, before pooling.
    Source: Selvaraju et al. 2017, eqs. 1 and 2.
    """
    if rules:
        raise SettingError("grad_cam takes no rules: it goes back from the target to one node; guided_grad_cam does")
    cam, map_, _ = _cam(question, x, node, ())
    return Answer(cam, map_)


def guided_grad_cam(question: Question, x: Tensor, rules: RuleMap, node: str | None = None) -> Answer:
    """The gradient by the input under rules (guided back-propagation), times the map of `grad_cam`.

    Its map is the largest size over the channels.
    Source: Selvaraju et al. 2017, section 3.2.
    """
    _, map_, d_x = _cam(question, x, node, rules)
    question.require_influence(d_x)
    attribution = d_x * map_.unsqueeze(1)
    return Answer(attribution, attribution.abs().amax(1))


def _cam(question: Question, x: Tensor, node: str | None, rules: RuleMap | tuple[()]) -> tuple[Tensor, Tensor, Tensor]:
    """Grad-CAM, its map, and, if there are rules, the gradient by the input under them, of the same forward pass."""
    network = question.network
    node = spatial_node(question, x) if node is None else node
    if node not in network.keys:
        raise GraphError(f"the network has no node {node!r}{suggestion(node, network.keys)}")
    trace, seeds = question.ask(x, (node,))
    y = trace[node]
    if y.dim() != 4:
        raise SettingError(f"Grad-CAM needs a node with channels, height and width; {node!r} gives {shape(y)}")
    d_y = network.backward(trace, seeds, wrt=node, keep_trace=bool(rules))[node]
    question.require_influence(d_y, node)
    cam = (d_y.mean((2, 3), keepdim=True) * y).sum(1, keepdim=True)
    question.require_influence(cam, node)
    del y, d_y
    d_x = network.backward(trace, seeds, wrt=question.input, rules=rules)[question.input] if rules else cam
    size = x.shape[2:]
    return _resized(cam, size), _resized(cam.clamp(min=0), size).squeeze(1), d_x


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def spatial_node(question: Question, x: Tensor) -> str:
    """The last node with height and width on the way to the target; what pools at the end does not count.

    Runs the network once on the first picture, without keeping anything.
    Raises SettingError if there is none.
    """
    network, input = question.network, question.input
    last, producers = "", {key: node for node in network.nodes for key in node.keys}
    reached = {input}

    def call(step: ForwardStep, inputs: list[Tensor]) -> tuple[Any, None]:
        nonlocal last
        output, _ = step.block.forward(*inputs)
        if reached.intersection(step.node.inputs):
            outputs = dict(zip(step.node.keys, (output,) if step.key else output, strict=True))
            reached.update(outputs)
            spatial = [key for key, y in outputs.items() if y.dim() == 4 and min(y.shape[2:]) > 1]
            last = next((key for key in spatial if key not in question.nodes), last)
        return output, None

    run_forward(plan_forward(network.nodes, question.nodes, training=False), {input: x[:1]}, call=call)
    while last in producers and producers[last].block.pools:
        last = producers[last].inputs[0]
    if last not in producers:
        raise SettingError(f"no node on the way to {question.objective!r} has height and width, which Grad-CAM needs")
    return last
