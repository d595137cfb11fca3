"""Seeing what a network sees: attribution, and inputs that are made for it."""

from blockprop.pictures.picture_files import read_picture, read_settings, write_picture
from blockprop.visualize.attribution.saliency import Saliency, saliency
from blockprop.visualize.attribution.sanity import SanityRecord, sanity
from blockprop.visualize.attribution.segmentation import Segmentation, segment
from blockprop.visualize.dream import dream
from blockprop.visualize.judging import Judgement, judge
from blockprop.visualize.maximize import maximize
from blockprop.visualize.objectives.each import each
from blockprop.visualize.objectives.scores import score
from blockprop.visualize.style.run import Style
from blockprop.visualize.style.stylize import stylize

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
