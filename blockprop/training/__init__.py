"""Minimizing an objective over data: `fit` and its run, gradient descent, averages, augmentation, evaluation."""

from blockprop.training.augmentation import augmentations
from blockprop.training.averaging import Averages
from blockprop.training.descent import GradientDescent
from blockprop.training.evaluation import Evaluation, evaluate, predict
from blockprop.training.fit import fit
from blockprop.training.rate_finder import RateCurve, find_rate
from blockprop.training.run import Record

__all__ = [
    "Averages",
    "Evaluation",
    "GradientDescent",
    "RateCurve",
    "Record",
    "augmentations",
    "evaluate",
    "find_rate",
    "fit",
    "predict",
]
