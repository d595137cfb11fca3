"""All methods of `saliency`: how each finds what speaks for a target, and what its map shows.

To add one: its function, here or in a file beside, and its entry in METHODS.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from torch import Tensor

from blockprop.engine.plan import RuleMap
from blockprop.visualize.attribution.cam import grad_cam, guided_grad_cam
from blockprop.visualize.attribution.question import Answer, Question, largest
from blockprop.visualize.attribution.smoothing import integrated_gradients, smooth_grad, smooth_grad_squared


class Method(NamedTuple):
    """One way to find what speaks for a target.

    find: (question, x, rules, its own settings by name) -> Answer.   text: what its map is, and its source.
    rules: the named rules that belong to it.   passes: its setting that says how many gradients it takes; None for one.
    scale: what stands beside the colors of its map; None for its name.
    """

    find: Callable[..., Answer]
    text: str
    rules: str | None = None
    passes: str | None = None
    scale: str | None = None

    @property
    def settings(self) -> list[str]:
        """The names of its own settings."""
        return _settings_of(self.find)


@cache
def _settings_of(find: Callable[..., Answer]) -> list[str]:
    return list(inspect.signature(find).parameters)[3:]


def gradient(question: Question, x: Tensor, rules: RuleMap | None) -> Answer:
    """∂S/∂x; the map is its largest size over the channels."""
    d_x = question.gradient(x, rules)
    question.require_influence(d_x)
    return Answer(d_x, largest(d_x))


def gradient_times_input(question: Question, x: Tensor, rules: RuleMap | None) -> Answer:
    """x ∘ ∂S/∂x; the map is its sum over the channels."""
    d_x = question.gradient(x, rules)
    question.require_influence(d_x)
    attribution = d_x * x
    return Answer(attribution, attribution.sum(1))


METHODS = {
    "gradient": Method(
        gradient,
        "w = ∂S/∂x, map = max over channels |w| (Simonyan, Vedaldi and Zisserman 2013, section 3)",
        scale="max over colors of |∂S/∂x|",
    ),
    "gradient_times_input": Method(
        gradient_times_input,
        "x ∘ w, map = its sum over channels, signed (Shrikumar et al. 2016)",
        scale="x ∂S/∂x, summed over colors",
    ),
    "smooth_grad": Method(
        smooth_grad, "the mean of w over noisy pictures; samples=50, sigma=0.15 (of the range)", passes="samples"
    ),
    "smooth_grad_squared": Method(
        smooth_grad_squared, "the mean of w² over noisy pictures; samples=50, sigma=0.15", passes="samples"
    ),
    "integrated_gradients": Method(
        integrated_gradients,
        'map = sum over channels, signed; steps=50, baseline="black", "gray", "blur" or a picture',
        passes="steps",
        scale="share of the score, summed over colors",
    ),
    "guided": Method(gradient, "gradient, with the rule `guided`", rules="guided"),
    "deconvnet": Method(gradient, "gradient, with the rule `deconvnet`", rules="deconvnet"),
    "grad_cam": Method(
        grad_cam,
        "node=… (by default the last with height and width, or whose tokens are places), grid=…; `grad_cam` in cam.py",
    ),
    "guided_grad_cam": Method(guided_grad_cam, "guided, times the map of grad_cam; node=…, grid=…", rules="guided"),
}
"""All methods by name."""
