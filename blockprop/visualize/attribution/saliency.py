"""Saliency: which pixels of a picture speak for what the network sees in it.

    seen = saliency(network, read_photo("goose.jpg", network), "goose", method="smooth_grad")
    seen.map                                    (1, h, w)

The error goes back to the input and nowhere else: no weight's gradient is computed, and the forward pass ends at the
deepest node that the target needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.engine.network import Network
from blockprop.engine.plan import RuleMap
from blockprop.errors import SettingError, suggestion
from blockprop.pictures.photos import picture
from blockprop.preparing.job import COPIES
from blockprop.preparing.resident import Expected
from blockprop.rules.composites import Rules
from blockprop.rules.coverage import Coverage
from blockprop.rules.named import NAMED_RULES
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.question import Question
from blockprop.visualize.objectives.scores import Target, require_clear, score, titles

RuleSet = str | RuleMap | None
"""By name, or by type of block and name of node."""


@dataclass(frozen=True)
class Saliency:
    """What `saliency` found.

    map: (n, h, w), what to draw.   attribution: (n, c, h, w), signed; one channel for grad_cam.
    targets: what was looked at in each picture, in words.
    coverage: what the rules replaced; None without named rules.
    residual: (n,), for integrated_gradients: Σ attribution − (S(picture) − S(baseline)); else None.
    """

    map: Tensor
    attribution: Tensor
    targets: list[str]
    method: str
    coverage: Coverage | None = None
    residual: Tensor | None = None

    def __repr__(self) -> str:
        return brief_repr(self)


@torch.no_grad()
def saliency(
    network: Network,
    image: Tensor,
    target: Target = "top",
    method: str = "gradient",
    *,
    rules: RuleSet = None,
    strict: bool = False,
    output: str | None = None,
    progress: Callable[[], None] | None = None,
    memory: int | str | None = None,
    expecting: Callable[[Expected], None] | None = None,
    **settings: Any,
) -> Saliency:
    """Explain what the network sees in pictures, back-propagating to the input with all weights fixed.

    METHODS

    image: (n, channels, h, w), in 0…1 for a network with preprocessing
    target: what is looked at, see `score`; "top": each picture's own best class; a tensor of whole numbers (n,): the
        class of each. A list means the sum of what is in it, and is refused where it could mean the class of each.
    output: see `score`
    rules: replace error propagation, with any method but grad_cam: "guided", "deconvnet", or what `Network.backward`
        takes; together with those of the method
    strict: raise if named rules do not cover all that rectifies   progress: called after each gradient
    memory: what a gradient may take beside the weights, in bytes or as "500 MB", see `Network.prepare`
    expecting: called before each gradient with what it is expected to take of that
    settings: the method's own; and seed=0 for all, though only noise needs it
    Raises SettingError for a target that a picture cannot influence (its gradient is zero everywhere), for unknown
    methods and settings, and as `score` does; ShapeError for what is no picture.
    """
    if method not in METHODS:
        raise SettingError(f"there is no method {method!r}{suggestion(method, METHODS)}")
    x = picture(image, network)
    require_clear(network, target, len(x))
    chosen = METHODS[method]
    copies = 1 if chosen.passes is None else COPIES  # what is found, or changed pictures and the sum of what is found
    question = Question(network, score(network, target, output), progress, memory, expecting, copies)
    combined = _rules(question, chosen.rules, rules, strict)
    answer = chosen.find(question, x, combined, **_settings(method, settings))
    coverage = combined.coverage if isinstance(combined, Rules) else None
    seen = titles(question.objective, len(x))
    return Saliency(answer.map, answer.attribution, seen, method, coverage, answer.residual)


if saliency.__doc__:  # not under python -OO
    saliency.__doc__ = saliency.__doc__.replace(
        "METHODS", "\n    ".join(f"{name}: {method.text}" for name, method in METHODS.items())
    )


def _rules(question: Question, own: str | None, rules: RuleSet, strict: bool) -> RuleMap | None:
    """The rules of the method together with those that were asked for."""
    of_method, of_user = (_named(question, some, strict) for some in (own, rules))
    if isinstance(of_method, Rules) and of_user is not None:
        return of_method | of_user
    return of_user if of_method is None else of_method


def _named(question: Question, rules: RuleSet, strict: bool) -> RuleMap | None:
    if not isinstance(rules, str):
        return rules
    if rules not in NAMED_RULES:
        raise SettingError(f"there are no rules {rules!r}{suggestion(rules, NAMED_RULES)}")
    return NAMED_RULES[rules](question.network, seeds=question.nodes, wrt=(question.input,), strict=strict)


def _settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the method takes; SettingError for others. Every method may be given a seed."""
    names = METHODS[method].settings
    for name in settings:
        if name not in names and name != "seed":
            raise SettingError(f"{method} has no setting {name!r}{suggestion(name, [*names, 'seed'])}")
    return {name: value for name, value in settings.items() if name in names}
