"""blockprop: back-propagation that people can read, check, change, and run all the way to the input."""

from blockprop import blocks
from blockprop.augmentation import augmentations
from blockprop.block import Block
from blockprop.check import check_block, check_network, check_objective
from blockprop.costs import costs
from blockprop.data import read_data
from blockprop.dataset import Dataset
from blockprop.descent import GradientDescent
from blockprop.diagram import diagram
from blockprop.errors import BlockpropError
from blockprop.evaluation import evaluate, predict
from blockprop.exporters import to_onnx
from blockprop.fetching import fetch, fetch_published
from blockprop.importers import from_onnx, from_torch
from blockprop.interop import Opaque, to_torch
from blockprop.network import Network, Sequential
from blockprop.networks import build_network
from blockprop.objectives import (
    Objective,
    binary_cross_entropy,
    cross_entropy,
    huber,
    mean_squared_error,
    negative_log_likelihood,
)
from blockprop.pictures import Preprocessing, read_photo, with_preprocessing
from blockprop.plan import Node
from blockprop.run import Record
from blockprop.storage import load, save
from blockprop.trace import Trace
from blockprop.training import fit
from blockprop.version import __version__
from blockprop.weights import load_weights, pretrained

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
    "binary_cross_entropy",
    "blocks",
    "build_network",
    "check_block",
    "check_network",
    "check_objective",
    "costs",
    "cross_entropy",
    "diagram",
    "evaluate",
    "fetch",
    "fetch_published",
    "fit",
    "from_onnx",
    "from_torch",
    "huber",
    "load",
    "load_weights",
    "mean_squared_error",
    "negative_log_likelihood",
    "predict",
    "pretrained",
    "read_data",
    "read_photo",
    "save",
    "to_onnx",
    "to_torch",
    "with_preprocessing",
]
