"""Grad-CAM: where the channels of an inner node speak for the target."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from blockprop.engine.passes import run_forward
from blockprop.engine.plan import ForwardStep, RuleMap, plan_forward
from blockprop.errors import GraphError, SettingError, no_such
from blockprop.visualize.attribution.places import FIRST, NORMS_OF_LAST, Finder, Grid, PictureAxes
from blockprop.visualize.attribution.question import Answer, Question, largest
from blockprop.visualize.attribution.trying import require_in_place


def grad_cam(
    question: Question, x: Tensor, rules: RuleMap | None = None, node: str | None = None, grid: Grid | None = None
) -> Answer:
    """The node's channels, each weighed by its mean gradient:  Σ_k α_k A_k  with  α_k = mean over places of ∂S/∂A_k.

    The attribution is (n, 1, h, w), signed, and the map what is positive of it; both scaled bilinearly to the
    picture's size.
    node: by default the last one with height and width on the way to the target, before pooling; in a network of tokens
        the last norm through which their places influence the target.
    grid: (height, width) in places of a node that gives tokens (n, tokens, channels), by default found out; tokens
        beside the grid's are left out, those at the front unless it is known where they were joined.
    Source: Selvaraju et al. 2017, eqs. 1 and 2.
    """
    if rules:
        raise SettingError("grad_cam takes no rules: it goes back from the target to one node; guided_grad_cam does")
    cam, map_, _ = _cam(question, x, node, grid, ())
    return Answer(cam, map_)


def guided_grad_cam(
    question: Question, x: Tensor, rules: RuleMap, node: str | None = None, grid: Grid | None = None
) -> Answer:
    """The gradient by the input under rules (guided back-propagation), times the map of `grad_cam`.

    Its map is the largest size over the channels.
    Source: Selvaraju et al. 2017, section 3.2.
    """
    _, map_, d_x = _cam(question, x, node, grid, rules)
    question.require_influence(d_x)
    attribution = d_x * map_.unsqueeze(1)
    return Answer(attribution, largest(attribution))


def _cam(
    question: Question, x: Tensor, node: str | None, grid: Grid | None, rules: RuleMap | tuple[()]
) -> tuple[Tensor, Tensor, Tensor]:
    """Grad-CAM, its map, and, if there are rules, the gradient by the input under them, of the same forward pass."""
    node, places = place_of(question, x, node, _checked(grid))
    asked = question.ask(x, rules or None, (node,))
    y = places.maps(asked.trace[node])
    d_y = places.maps(asked.back(node, keep_trace=bool(rules))[node])
    question.require_influence(d_y, node)
    cam = (d_y.mean((2, 3), keepdim=True) * y).sum(1, keepdim=True)
    question.require_influence(cam, node)
    del y, d_y
    d_x = asked.back(question.input, rules)[question.input] if rules else cam
    size = x.shape[2:]
    return _resized(cam, size), _resized(cam.clamp(min=0), size).squeeze(1), d_x


def _resized(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _checked(grid: Any) -> Grid | None:
    """Two whole numbers. SettingError for anything else."""
    if grid is None:
        return None
    sides = tuple(grid) if isinstance(grid, list | tuple) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise SettingError(f"grid must be (height, width), two whole numbers of at least 1, came {grid!r}")
    return sides[0], sides[1]


def place_of(
    question: Question, x: Tensor, node: str | None = None, grid: Grid | None = None
) -> tuple[str, PictureAxes]:
    """(the node where Grad-CAM looks, where the places of the picture lie in it).

    Runs the network once on the first picture, without keeping anything, and for tokens once with what it needs to go
    back to them. Raises GraphError for an unknown node, SettingError if there is none, or its places are not known, or
    lie elsewhere in the picture.
    """
    network = question.network
    if node is not None and node not in network.keys:
        raise GraphError(no_such("node", node, network.keys))
    free = network.meta.get("free")
    some = x[:1] if free is None or 0 in free.get(question.input, ()) else x
    seen = _Seen(question, Finder(question.input, some, grid), node)
    targets = question.nodes if node is None else (node,)
    if node != question.input:
        question.job.require_plain(some, targets)
        run_forward(plan_forward(network.nodes, targets, training=False), {question.input: some}, call=seen.call)
    if node is not None:
        places = seen.finder.said(node, seen.outputs.get(node, some))
    else:
        node, places = _default(question, x, seen.finder, seen.candidates)
    if grid is None:
        require_in_place(question.job, some, node, places)
    return node, places


class _Seen:
    """What a forward pass comes by: nodes with places on the way to the target, and the output that is wanted."""

    def __init__(self, question: Question, finder: Finder, wanted: str | None):
        self.finder, self.wanted, self.ends = finder, wanted, question.nodes
        self.reached = {question.input}
        self.candidates: list[str] = []
        self.outputs: dict[str, Tensor] = {}

    def call(self, step: ForwardStep, inputs: list[Tensor]) -> tuple[Any, None]:
        output, _ = step.block.forward(*inputs)
        outputs = dict(zip(step.node.keys, (output,) if step.key else output, strict=True))
        self.finder.see(step.node, step.block, inputs, outputs)
        self.outputs |= {key: y for key, y in outputs.items() if key == self.wanted}
        if self.reached.intersection(step.node.inputs):
            self.reached.update(outputs)
            inner = [key for key in outputs if key not in self.ends]
            self.candidates += [key for key in inner if _is_candidate(key, step, self.finder)]
        return output, None


def _is_candidate(key: str, step: ForwardStep, finder: Finder) -> bool:
    """Maps of more than one place on a side; of tokens, and where channels are last, what a norm gives."""
    places = finder.places.get(key)
    if places is None or max(places.grid) == 1:
        return False
    return min(places.grid) > 1 if places.kind == FIRST else isinstance(step.block, NORMS_OF_LAST)


def _default(question: Question, x: Tensor, finder: Finder, candidates: list[str]) -> tuple[str, PictureAxes]:
    """The last candidate, if it has maps; else the last one whose places influence the target."""
    network = question.network
    if not candidates:
        raise SettingError(
            f"no node on the way to {question.objective!r} is known to have height and width, which Grad-CAM needs; "
            "name one, and say what grid its places are, (height, width)"
        )
    last = candidates[-1]
    if finder.places[last].kind != FIRST:
        last = _influential(question, x, finder, candidates)
    producers = {key: node for node in network.nodes for key in node.keys}
    while last in producers and producers[last].block.pools and producers[last].inputs[0] in finder.places:
        last = producers[last].inputs[0]
    places = finder.places[last]
    if finder.grid not in (None, places.grid):
        asked, there = (f"{rows} x {columns}" for rows, columns in (finder.grid, places.grid))
        raise SettingError(f"a grid of {asked} does not fit {last!r}, which has {there} places")
    return last, places


def _influential(question: Question, x: Tensor, finder: Finder, candidates: list[str]) -> str:
    """The last candidate whose places influence the target: behind the last attention only the class token does."""
    each = Question(question.network, question.objective, memory=question.job.memory)
    errors = each.ask(x, inner=tuple(candidates)).back(candidates)
    for key in reversed(candidates):
        if bool((finder.places[key].maps(errors[key]) != 0).any()):
            return key
    raise SettingError(f"no place of the picture influences {question.objective!r}: choose another target or picture")
