"""Photographs as a network sees them, and pictures as people see them: files, preprocessing, overlays, sheets."""

from blockprop.pictures.framing import preprocessing_of, reading_frame, sight
from blockprop.pictures.photos import OTHER_SIZE, picture_channels, read_photo, with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing, beside, read_classes, read_preprocessing

__all__ = [
    "OTHER_SIZE",
    "Preprocessing",
    "beside",
    "picture_channels",
    "preprocessing_of",
    "read_classes",
    "read_photo",
    "read_preprocessing",
    "reading_frame",
    "sight",
    "with_preprocessing",
]
