"""Seeing what a network sees: attribution, and inputs that are made for it."""

from blockprop.visualize.saliency import Saliency, saliency
from blockprop.visualize.sanity import SanityRecord, sanity
from blockprop.visualize.scores import score

__all__ = ["Saliency", "SanityRecord", "saliency", "sanity", "score"]
