"""ONNX operators: one file of handlers for each subject. Importing this fills the table (table.py)."""

from blockprop.importers.onnx_operators import (
    activations,
    arithmetic,
    constants,
    convolving,
    indexing,
    normalizing,
    padding,
    pooling,
    products,
    recurrent,
    reducing,
    resizing,
    shaping,
    withdrawn,
)

__all__ = [
    "activations",
    "arithmetic",
    "constants",
    "convolving",
    "indexing",
    "normalizing",
    "padding",
    "pooling",
    "products",
    "recurrent",
    "reducing",
    "resizing",
    "shaping",
    "withdrawn",
]
