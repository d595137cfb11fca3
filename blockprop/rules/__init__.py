"""What replaces error propagation for one backward pass, where it applies, and what it did not reach."""

from blockprop.rules.coverage import NAMED, Coverage, Rules
from blockprop.rules.named import NAMED_RULES, deconvnet, guided, redirected

__all__ = ["NAMED", "NAMED_RULES", "Coverage", "Rules", "deconvnet", "guided", "redirected"]
