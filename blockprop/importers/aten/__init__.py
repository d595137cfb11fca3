"""ATen operators, the vocabulary of torch.export: one handler for each, by subject."""

from blockprop.importers.aten import (
    activations,
    arranging,
    elementwise,
    indexing,
    joining,
    layers,
    moving,
    normalizing,
    pooling,
    reducing,
    resizing,
    sequences,
)
from blockprop.importers.aten.table import ATEN

__all__ = [
    "ATEN",
    "activations",
    "arranging",
    "elementwise",
    "indexing",
    "joining",
    "layers",
    "moving",
    "normalizing",
    "pooling",
    "reducing",
    "resizing",
    "sequences",
]
