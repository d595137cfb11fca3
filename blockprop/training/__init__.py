"""Minimizing an objective over data: `fit` and its run, gradient descent, averages, augmentation, evaluation."""

from blockprop.training.augmentation import augmentations
from blockprop.training.averaging import Averages
from blockprop.training.balancing import balanced_weights
from blockprop.training.descent import GradientDescent
from blockprop.training.evaluation import Evaluation, evaluate, predict
from blockprop.training.fit import fit
from blockprop.training.measures import Measures, measures
from blockprop.training.rate_finder import RateCurve, find_rate
from blockprop.training.run import Record

__all__ = [
    "Averages",
    "Evaluation",
    "GradientDescent",
    "Measures",
    "RateCurve",
    "Record",
    "augmentations",
    "balanced_weights",
    "evaluate",
    "find_rate",
    "fit",
    "measures",
    "predict",
]
