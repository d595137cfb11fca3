"""Seeing back-propagation work: derivatives written out, and pages on which one walks through both passes."""

from blockprop.learning.derivation import Derivation
from blockprop.learning.explain import explain
from blockprop.learning.formulas import Formulas, formulas_of
from blockprop.learning.stepper import StepperPage, stepper

__all__ = ["Derivation", "Formulas", "StepperPage", "explain", "formulas_of", "stepper"]
