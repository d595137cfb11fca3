"""Derivatives of any function written with blocks: gradients, Jacobians, tangents, curvature, and descent by them."""

from blockprop.calculus.derivatives import (
    Linearization,
    directional_derivative,
    gradient,
    jacobian,
    linearize,
)
from blockprop.calculus.descent import Descent, DescentStep, descend
from blockprop.calculus.judging import Verdict, judge
from blockprop.calculus.recording import Recording, record, value_at
from blockprop.calculus.second import HessianProduct, hessian, hessian_vector_product
from blockprop.calculus.slopes import Kink, kink_at, one_sided_slopes, require_differentiable, require_written_down
from blockprop.calculus.text import TextFunction
from blockprop.calculus.traced import Traced

__all__ = [
    "Descent",
    "DescentStep",
    "HessianProduct",
    "Kink",
    "Linearization",
    "Recording",
    "TextFunction",
    "Traced",
    "Verdict",
    "descend",
    "directional_derivative",
    "gradient",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "judge",
    "kink_at",
    "linearize",
    "one_sided_slopes",
    "record",
    "require_differentiable",
    "require_written_down",
    "value_at",
]
