"""Weights of classes that make up for how many examples each has."""

import numpy as np
import torch
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.training.evaluation import LabeledExamples, pair


def balanced_weights(data: LabeledExamples) -> Tensor:
    """A weight for each class, n / (classes · examples of it), so that all count alike: for `cross_entropy`.

    cross_entropy(class_weights=balanced_weights(train))

    data: of the training part. Classes are those of a Dataset, or 0 to the largest number; one without examples gets 1.
    Raises SettingError for targets that are no class numbers.
    """
    from sklearn.utils.class_weight import compute_class_weight  # late, because it takes a second

    _, y = pair(data)
    if y.is_floating_point():
        raise SettingError("class weights are for classes; these targets are numbers")
    numbers = y.flatten().cpu().numpy()
    classes = getattr(data, "classes", None)
    weights = np.ones(len(classes) if classes else int(numbers.max()) + 1)
    present = np.unique(numbers)
    weights[present] = compute_class_weight("balanced", classes=present, y=numbers)
    return torch.from_numpy(weights).float()
