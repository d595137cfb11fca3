"""Seeing what a network sees: attribution, and inputs that are made for it."""

from blockprop.visualize.dream import dream
from blockprop.visualize.judging import Judgement, judge
from blockprop.visualize.maximize import each, maximize
from blockprop.visualize.picture_files import read_picture, read_settings, write_picture
from blockprop.visualize.saliency import Saliency, saliency
from blockprop.visualize.sanity import SanityRecord, sanity
from blockprop.visualize.scores import score
from blockprop.visualize.segmentation import Segmentation, segment
from blockprop.visualize.style import Style, stylize

__all__ = [
    "Judgement",
    "Saliency",
    "SanityRecord",
    "Segmentation",
    "Style",
    "dream",
    "each",
    "judge",
    "maximize",
    "read_picture",
    "read_settings",
    "saliency",
    "sanity",
    "score",
    "segment",
    "stylize",
    "write_picture",
]
