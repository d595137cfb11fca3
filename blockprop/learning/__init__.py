"""Seeing back-propagation work: derivatives written out by the chain rule, with the numbers of one input."""

from blockprop.learning.derivation import Derivation
from blockprop.learning.explain import explain
from blockprop.learning.formulas import Formulas, formulas_of

__all__ = ["Derivation", "Formulas", "explain", "formulas_of"]
