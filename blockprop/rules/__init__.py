"""What replaces error propagation for one backward pass, where it applies, and what it did not reach."""

from blockprop.rules.composites import Composite, NamedRule, Rules, Scope
from blockprop.rules.coverage import NAMED, Coverage
from blockprop.rules.named import NAMED_RULES, deconvnet, guided, redirected

__all__ = [
    "NAMED",
    "NAMED_RULES",
    "Composite",
    "Coverage",
    "NamedRule",
    "Rules",
    "Scope",
    "deconvnet",
    "guided",
    "redirected",
]
