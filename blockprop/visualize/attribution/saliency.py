"""Saliency: which pixels of a picture speak for what the network sees in it.

    seen = saliency(network, read_photo("goose.jpg", network), "goose", method="smooth_grad")
    seen.map                                    (1, h, w)

The error goes back to the input and nowhere else: no weight's gradient is computed, and the forward pass ends at the
deepest node that the target needs.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Rule
from blockprop.errors import SettingError, suggestion
from blockprop.pictures.photos import picture
from blockprop.rules.composites import Rules
from blockprop.rules.coverage import Coverage
from blockprop.rules.named import NAMED_RULES
from blockprop.visualize.attribution.cam import grad_cam, guided_grad_cam
from blockprop.visualize.attribution.question import Question
from blockprop.visualize.attribution.smoothing import integrated_gradients, smooth_gradient
from blockprop.visualize.objectives.scores import Target, score, titles

RuleSet = str | Mapping[type[Block] | str, Rule] | None


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
    **settings: Any,
) -> Saliency:
    """Explain what the network sees in pictures, back-propagating to the input with all weights fixed.

    gradient: w = ∂S/∂x, map = max over channels |w| (Simonyan, Vedaldi and Zisserman 2013, section 3)
    gradient_times_input: x ∘ w, map = its sum over channels, signed (Shrikumar et al. 2016)
    smooth_grad, smooth_grad_squared: the mean of w, or w², over noisy pictures; samples=50, sigma=0.15 (of the range)
    integrated_gradients: map = sum over channels, signed; steps=50, baseline="black", "gray", "blur" or a picture
    guided, deconvnet: gradient, with these rules
    grad_cam, guided_grad_cam: node=… (by default the last with height and width); `grad_cam` in cam.py

    image: (n, channels, h, w), in 0…1 for a network with preprocessing
    target: what is looked at, see `score`; "top": each picture's own best class   output: see `score`
    rules: replace error propagation, with any method but grad_cam: "guided", "deconvnet", or what `Network.backward`
        takes; together with those of the method
    strict: raise if named rules do not cover all that rectifies   progress: called after each gradient
    settings: the method's own; and seed=0 for all, though only noise needs it
    Raises SettingError for a target that a picture cannot influence (its gradient is zero everywhere), for unknown
    methods and settings, and as `score` does; ShapeError for what is no picture.
    """
    if method not in METHODS:
        raise SettingError(f"there is no method {method!r}{suggestion(method, METHODS)}")
    x = picture(image, network)
    question = Question(network, score(network, target, output), progress)
    own = RULED.get(method)
    replaced = _rules(question, own, rules, strict)
    found = METHODS[method](question, x, replaced, **_settings(method, settings))
    coverage = replaced.coverage if isinstance(replaced, Rules) else None
    return Saliency(found[1], found[0], titles(question.objective, len(x)), method, coverage, *found[2:])


Found = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]
"""Attribution, map, and perhaps the residual."""
Replaced = Mapping[type[Block] | str, Rule] | None


def _gradient(question: Question, x: Tensor, rules: Replaced) -> Found:
    d_x = question.gradient(x, rules)
    question.require_influence(d_x)
    return d_x, d_x.abs().amax(1)


def _gradient_times_input(question: Question, x: Tensor, rules: Replaced) -> Found:
    d_x = question.gradient(x, rules)
    question.require_influence(d_x)
    attribution = d_x * x
    return attribution, attribution.sum(1)


def _smooth_grad(
    question: Question, x: Tensor, rules: Replaced, samples: int = 50, sigma: float = 0.15, seed: int = 0
) -> Found:
    mean = smooth_gradient(question, x, rules, samples, sigma, seed)
    return mean, mean.abs().amax(1)


def _smooth_grad_squared(
    question: Question, x: Tensor, rules: Replaced, samples: int = 50, sigma: float = 0.15, seed: int = 0
) -> Found:
    mean = smooth_gradient(question, x, rules, samples, sigma, seed, squared=True)
    return mean, mean.amax(1)


def _integrated_gradients(
    question: Question, x: Tensor, rules: Replaced, steps: int = 50, baseline: str | Tensor = "black"
) -> Found:
    attribution, residual = integrated_gradients(question, x, rules, steps, baseline)
    return attribution, attribution.sum(1), residual


def _grad_cam(question: Question, x: Tensor, rules: Replaced, node: str | None = None) -> Found:
    if rules:
        raise SettingError("grad_cam takes no rules: it goes back from the target to one node; guided_grad_cam does")
    return grad_cam(question, x, node)


def _guided_grad_cam(question: Question, x: Tensor, rules: Replaced, node: str | None = None) -> Found:
    assert rules is not None
    attribution = guided_grad_cam(question, x, rules, node)
    return attribution, attribution.abs().amax(1)


METHODS: dict[str, Callable[..., Found]] = {
    "gradient": _gradient,
    "gradient_times_input": _gradient_times_input,
    "smooth_grad": _smooth_grad,
    "smooth_grad_squared": _smooth_grad_squared,
    "integrated_gradients": _integrated_gradients,
    "guided": _gradient,
    "deconvnet": _gradient,
    "grad_cam": _grad_cam,
    "guided_grad_cam": _guided_grad_cam,
}
"""All methods by name: (question, x, rules, …) -> attribution, map, and perhaps the residual."""
SAMPLING = {
    "smooth_grad": "samples",
    "smooth_grad_squared": "samples",
    "integrated_gradients": "steps",
}
"""The methods that need many gradients, and the setting that says how many."""
RULED = {"guided": "guided", "deconvnet": "deconvnet", "guided_grad_cam": "guided"}
"""The rules that belong to a method."""


def _rules(question: Question, own: str | None, rules: RuleSet, strict: bool) -> Replaced:
    """The rules of the method together with those that were given."""
    mine, theirs = (_named(question, each, strict) for each in (own, rules))
    if isinstance(mine, Rules) and theirs is not None:
        return mine | theirs
    return theirs if mine is None else mine


def _named(question: Question, rules: RuleSet, strict: bool) -> Replaced:
    if not isinstance(rules, str):
        return rules
    if rules not in NAMED_RULES:
        raise SettingError(f"there are no rules {rules!r}{suggestion(rules, NAMED_RULES)}")
    return NAMED_RULES[rules](question.network, seeds=question.nodes, wrt=(question.input,), strict=strict)


def _settings(method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the method takes; SettingError for others. Every method may be given a seed."""
    known = list(inspect.signature(METHODS[method]).parameters)[3:]
    for name in settings:
        if name not in known and name != "seed":
            raise SettingError(f"{method} has no setting {name!r}{suggestion(name, [*known, 'seed'])}")
    return {name: value for name, value in settings.items() if name in known}
