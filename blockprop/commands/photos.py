"""What the commands that look into a network share: the network, and photographs as it sees them and as people do."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.commands.inputs import device_named, load_network
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, SettingError
from blockprop.importers import from_onnx
from blockprop.pictures.colors import luminance
from blockprop.pictures.framing import WIDEST, in_words, reading_frame, sight
from blockprop.pictures.photos import picture_channels, read_photo, with_preprocessing
from blockprop.pictures.picture_files import FORMAT_OF_SUFFIX, read_picture, read_settings
from blockprop.pictures.preprocessing import Preprocessing, beside, read_classes, read_preprocessing
from blockprop.pictures.scaling import scaled

SHOWN = 1024
"""Pixels of the longer side of a photograph that is shown."""
FINER = 3
"""So many times finer than the network sees it was a photograph shown whose center was cut out."""
PARTS_SHOWN = 4
"""Photographs of which it is said what was seen."""
SEEN_BEFORE: Mapping[str, Any] = {"crop": WIDEST}
"""What commands saw of a photograph before there was a choice."""

FOR_PHOTOS = (
    "{network} does not say what it expects of a photograph; say it with --preprocessing FILE, or in a file {beside} "
    'beside it, such as {{"size": 224, "range": 255, "mean": [104, 117, 123], "channels": "BGR"}} '
    "(the network's input is (range · picture − mean) / scale, for a picture in 0…1)"
)


class Seen(NamedTuple):
    """A photograph: x as the network takes it, (1, c, h, w), and finer as people see it, (3, h, w); equally framed.

    size: (h, w) of the file.   frame: (top, left, h, w) of the part of it that x and shown are, in its pixels.
    part: which part that is, in words.
    """

    name: str
    x: Tensor
    shown: Tensor
    size: tuple[int, int]
    frame: tuple[float, float, float, float]
    part: str = ""


def open_network(path: str, own_blocks: str | None = None, device: str = "cpu") -> Network:
    """The network of a file, with what it expects of pictures in front."""
    if path.lower().endswith(".onnx"):
        network = with_picture(from_onnx(path), path).to(device_named(device))
    else:
        network = load_network(path, own_blocks, device)
    meta = network.meta
    if not any((meta.get("picture"), meta.get("preprocessing"), meta.get("data"), meta.get("spec"))):
        beside = Path(path).with_suffix(".json").name
        raise SettingError(
            f"{path} does not say what it expects of a photograph: say it in a file {beside} beside it, such as "
            '{"size": 224, "range": 255, "mean": [104, 117, 123], "channels": "BGR", "classes": "names.txt"}, or with '
            "`blockprop import --preprocessing`"
        )
    return seeing(network, path)


def read_seen(path: str, network: Network, crop: str | None = None, side: int | None = None) -> Seen:
    """A photograph as the network sees it; crop, side: see `sight`."""
    settings, picture = sight(network, crop, side), read_picture(path)
    height, width = picture.shape[2:]
    frame, words = reading_frame(settings, height, width), in_words(settings, height, width)
    shown = _as_before(path, settings) if crop == WIDEST else _cut_out(picture, frame)
    return Seen(os.path.basename(path), read_photo(path, settings), shown, (height, width), frame, words)


def seen_notes(seen: Sequence[Seen]) -> list[str]:
    """What the network saw of photographs, in lines."""
    return notes_of_parts({photo.name: photo.part for photo in seen})


def notes_of_parts(parts: Mapping[str, str]) -> list[str]:
    """{photograph: which part of it was seen} in lines: one if it is the same of all, and otherwise not too many."""
    if len(set(parts.values())) <= 1:
        return [f"seen: {part}" for part in set(parts.values())]
    lines = [f"seen of {name}: {part}" for name, part in list(parts.items())[:PARTS_SHOWN]]
    return lines + ([f"… and of {len(parts) - PARTS_SHOWN} more in the same way"] if len(parts) > PARTS_SHOWN else [])


def seeing(network: Network, path: str, settings: Path | None = None, photos: bool = True) -> Network:
    """The network with the preprocessing that a file says, if that is wanted or needed."""
    meta = network.meta
    trained_here = meta.get("data") is not None or meta.get("spec") is not None
    if settings is None and (not photos or trained_here or meta.get("picture")):
        return network
    if settings is None and meta.get("preprocessing"):
        return with_preprocessing(network)
    file = settings or beside(path)
    if file is None:
        name = Path(path).with_suffix(".json").name
        raise SettingError(FOR_PHOTOS.format(network=path, beside=name))
    return with_preprocessing(network, *read_preprocessing(file))


def with_picture(network: Network, file: str | None, given: str | None = None, classes: str | None = None) -> Network:
    """The network with what it expects of a picture in front, if that is known."""
    source: Any = given or (beside(file) if file else None)
    preprocessing, names = read_preprocessing(source) if source else (None, None)
    names = read_classes(classes) if classes else names
    if preprocessing is None and not network.meta.get("preprocessing"):
        if names is not None:
            network.meta["classes"] = names
        return network
    return with_preprocessing(network, preprocessing, names)


def in_colors_of(network: Network, picture: Tensor) -> Tensor:
    """The picture (1, 3, h, w), or its luminance for a network that takes gray ones."""
    return luminance(picture) if picture_channels(network) == 1 else picture


def _cut_out(picture: Tensor, frame: tuple[float, float, float, float]) -> Tensor:
    """A part of a picture (1, 3, h, w) in its own pixels, (3, h, w), if these are not too many."""
    top, left, height, width = (round(number) for number in frame)
    part = picture[:, :, top : top + height, left : left + width]
    ratio = min(1.0, SHOWN / max(part.shape[2:]))
    return scaled(part, *(max(1, round(side * ratio)) for side in part.shape[2:]))[0].clamp(0, 1)


def _as_before(path: str, settings: Preprocessing) -> Tensor:
    """The same part, finer than the network sees it, as in pictures that were made before there was a choice."""
    if settings.height_width is None:
        return read_picture(path, longest=SHOWN)[0]
    height, width = settings.height_width
    side = settings.reading_side or min(height, width)
    return read_photo(path, replace(settings, size=(FINER * height, FINER * width), shorter_side=FINER * side))[0]


def picture_file(path: Path | None, name: str) -> Path:
    """Where the picture goes: `path`, or `name` in this folder.

    Raises SettingError for a kind that is not written, and if a file of that name is there that no command made.
    """
    if path is None:
        path = Path(name)
        if path.exists() and not is_made(path):
            raise SettingError(f"{path} is there already, and blockprop did not make it; name the picture with --out")
    if path.suffix.lower() not in FORMAT_OF_SUFFIX:
        raise SettingError(f"{path}: pictures are written as {', '.join(FORMAT_OF_SUFFIX)}, not as {path.suffix!r}")
    return path


def is_made(path: Path) -> bool:
    """Whether a file is a picture with settings, so that a command has made it."""
    try:
        read_settings(path)
    except BlockpropError:
        return False
    return True
