"""blockprop: back-propagation that people can read, check, change, and run all the way to the input."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from blockprop.version import __version__

# Threads of torch that wait for each other spin, and beside busy neighbors they may spin far longer than they work:
# docs/benchmarks.md, "Under load". The limit is read when torch is loaded; what its user has set stays.
if "torch" not in sys.modules and not any(
    name.startswith(("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_")) for name in os.environ
):
    os.environ["GOMP_SPINCOUNT"] = "1000"

if TYPE_CHECKING:
    from blockprop import blocks
    from blockprop.calculus.derivatives import directional_derivative, gradient, jacobian, linearize
    from blockprop.calculus.descent import descend
    from blockprop.calculus.second import hessian_vector_product
    from blockprop.data.dataset import Dataset
    from blockprop.data.reading import read_data
    from blockprop.engine.block import Block
    from blockprop.engine.check import check_block, check_network, check_objective
    from blockprop.engine.network import Network
    from blockprop.engine.objectives import (
        Objective,
        binary_cross_entropy,
        cross_entropy,
        huber,
        mean_squared_error,
        negative_log_likelihood,
    )
    from blockprop.engine.plan import Node
    from blockprop.engine.sequential import Sequential
    from blockprop.engine.trace import Trace
    from blockprop.errors import BlockpropError
    from blockprop.exporters import to_onnx
    from blockprop.importers import from_onnx, from_torch
    from blockprop.interop.modules import to_torch
    from blockprop.interop.opaque import Opaque
    from blockprop.learning.explain import explain
    from blockprop.learning.stepper import stepper
    from blockprop.networks.build import build_network
    from blockprop.networks.fetching import fetch, fetch_published
    from blockprop.networks.weights import load_weights, pretrained
    from blockprop.pictures.photos import read_photo, with_preprocessing
    from blockprop.pictures.preprocessing import Preprocessing
    from blockprop.reports.costs import costs
    from blockprop.reports.diagram import diagram
    from blockprop.saving.storage import load, save
    from blockprop.training.augmentation import augmentations
    from blockprop.training.balancing import balanced_weights
    from blockprop.training.descent import GradientDescent
    from blockprop.training.evaluation import evaluate, predict
    from blockprop.training.fit import fit
    from blockprop.training.measures import measures
    from blockprop.training.run import Record

__all__ = [
    "Block",
    "BlockpropError",
    "Dataset",
    "GradientDescent",
    "Network",
    "Node",
    "Objective",
    "Opaque",
    "Preprocessing",
    "Record",
    "Sequential",
    "Trace",
    "__version__",
    "augmentations",
    "balanced_weights",
    "binary_cross_entropy",
    "blocks",
    "build_network",
    "check_block",
    "check_network",
    "check_objective",
    "costs",
    "cross_entropy",
    "descend",
    "diagram",
    "directional_derivative",
    "evaluate",
    "explain",
    "fetch",
    "fetch_published",
    "fit",
    "from_onnx",
    "from_torch",
    "gradient",
    "hessian_vector_product",
    "huber",
    "jacobian",
    "linearize",
    "load",
    "load_weights",
    "mean_squared_error",
    "measures",
    "negative_log_likelihood",
    "predict",
    "pretrained",
    "read_data",
    "read_photo",
    "save",
    "stepper",
    "to_onnx",
    "to_torch",
    "with_preprocessing",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of the package
    _HOMES = {
        "calculus.derivatives": "directional_derivative gradient jacobian linearize",
        "calculus.descent": "descend",
        "calculus.second": "hessian_vector_product",
        "data.dataset": "Dataset",
        "data.reading": "read_data",
        "engine.block": "Block",
        "engine.check": "check_block check_network check_objective",
        "engine.network": "Network",
        "engine.objectives": "Objective binary_cross_entropy cross_entropy huber mean_squared_error "
        "negative_log_likelihood",
        "engine.plan": "Node",
        "engine.sequential": "Sequential",
        "engine.trace": "Trace",
        "errors": "BlockpropError",
        "exporters": "to_onnx",
        "importers": "from_onnx from_torch",
        "interop.modules": "to_torch",
        "interop.opaque": "Opaque",
        "learning.explain": "explain",
        "learning.stepper": "stepper",
        "networks.build": "build_network",
        "networks.fetching": "fetch fetch_published",
        "networks.weights": "load_weights pretrained",
        "pictures.photos": "read_photo with_preprocessing",
        "pictures.preprocessing": "Preprocessing",
        "reports.costs": "costs",
        "reports.diagram": "diagram",
        "saving.storage": "load save",
        "training.augmentation": "augmentations",
        "training.balancing": "balanced_weights",
        "training.descent": "GradientDescent",
        "training.evaluation": "evaluate predict",
        "training.fit": "fit",
        "training.measures": "measures",
        "training.run": "Record",
    }
    """{file: the public names that it has}; each is loaded when it is first asked for, and torch with it."""
    _HOME_OF = {name: file for file, names in _HOMES.items() for name in names.split()}

    def _rooms() -> list[str]:
        from pkgutil import iter_modules

        return [module.name for module in iter_modules(__path__) if not module.name.startswith("_")]

    def __getattr__(name: str) -> Any:
        if name in _HOME_OF:
            value = getattr(import_module(f"blockprop.{_HOME_OF[name]}"), name)
            return globals().setdefault(name, value)
        near = ""
        if not name.startswith("_"):
            if name in _rooms():
                return import_module(f"blockprop.{name}")
            from blockprop.errors import did_you_mean

            near = did_you_mean(name, [*__all__, *_rooms()])
        from blockprop.errors import NameMissing

        raise NameMissing(f"module 'blockprop' has no attribute {name!r}{near}", name=name)

    def __dir__() -> list[str]:
        return sorted({*__all__, *_rooms(), *(name for name in globals() if name.startswith("__"))})
