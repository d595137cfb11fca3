"""Networks that are ready: by a short text, published ones with their weights, and those that come with the package."""

from blockprop.networks.build import BUILDERS, HIDDEN, MOST_UNITS, STAGES, WIDEST, blocks_in, build_network
from blockprop.networks.fetching import fetch, fetch_published
from blockprop.networks.heads import with_outputs
from blockprop.networks.lecture import lecture, lecture_example
from blockprop.networks.shipped import shipped
from blockprop.networks.weights import load_weights, pretrained

__all__ = [
    "BUILDERS",
    "HIDDEN",
    "MOST_UNITS",
    "STAGES",
    "WIDEST",
    "blocks_in",
    "build_network",
    "fetch",
    "fetch_published",
    "lecture",
    "lecture_example",
    "load_weights",
    "pretrained",
    "shipped",
    "with_outputs",
]
