"""Photographs as a network sees them, and pictures as people see them: files, preprocessing, overlays, sheets."""

from blockprop.pictures.photos import (
    OTHER_SIZE,
    picture_channels,
    preprocessing_of,
    read_photo,
    reading_frame,
    with_preprocessing,
)
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
    "with_preprocessing",
]
