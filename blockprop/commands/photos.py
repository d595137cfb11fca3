"""What the commands that look into a network share: the network, and photographs as it sees them and as people do."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from blockprop.commands.inputs import device_named, load_network
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, SettingError
from blockprop.importers import from_onnx
from blockprop.pictures.colors import luminance
from blockprop.pictures.photos import picture_channels, preprocessing_of, read_photo, reading_frame, with_preprocessing
from blockprop.pictures.picture_files import FORMAT_OF_SUFFIX, read_picture, read_settings
from blockprop.pictures.preprocessing import Preprocessing, beside, read_classes, read_preprocessing

SIDE = 256
"""Pixels of the shorter side of a photograph, for a network that takes any size and names none."""
SHOWN = 1024
"""Pixels of the longer side of a photograph that is shown."""
FINER = 3
"""So many times finer than the network sees it is a photograph shown whose center was cut out."""

FOR_PHOTOS = (
    "{network} does not say what it expects of a photograph; say it with --preprocessing FILE, or in a file {beside} "
    'beside it, such as {{"size": 224, "range": 255, "mean": [104, 117, 123], "channels": "BGR"}} '
    "(the network's input is (range · picture − mean) / scale, for a picture in 0…1)"
)


class Seen(NamedTuple):
    """A photograph: x as the network takes it, (1, c, h, w), and finer as people see it, (3, h, w); equally framed.

    size: (h, w) of the file.   frame: (top, left, h, w) of the part of it that x and shown are, in its pixels.
    """

    name: str
    x: Tensor
    shown: Tensor
    size: tuple[int, int]
    frame: tuple[float, float, float, float]


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


def read_seen(path: str, network: Network, side: int | None = None) -> Seen:
    """A photograph as the network sees it: whole, if it takes any size; else its center.

    side: pixels of its shorter side; SettingError if the network takes only one size.
    """
    picture = read_picture(path)[0]
    height, width = picture.shape[1:]
    name, sight = os.path.basename(path), _sight(network)
    if not takes_any_size(network):
        if side is not None:
            raise SettingError(f"the network takes pictures of {sight.size} pixels alone; leave out --side")
        frame = reading_frame(sight, height, width)
        return Seen(name, read_photo(path, sight), _finer(path, sight), (height, width), frame)
    whole = replace(sight, size=None, shorter_side=side or sight.reading_side or SIDE)
    shown = read_picture(path, longest=SHOWN)[0]
    return Seen(name, read_photo(path, whole), shown, (height, width), (0, 0, height, width))


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


def takes_any_size(network: Network) -> bool:
    """Whether pictures of any height and width go in, without being brought to one size by the network itself."""
    meta = network.meta
    if not meta.get("picture"):
        return False
    free = meta.get("free")
    resized = any(node.name == "picture.size" for node in network.nodes)
    return not resized and (free is None or {2, 3} <= set(free.get(network.inputs[0], ())))


def _sight(network: Network) -> Preprocessing:
    """What the network wants of a picture; one that was trained here takes its training examples' shape, in 0…1."""
    preprocessing = preprocessing_of(network)
    if preprocessing is not None:
        return preprocessing
    size = network.meta.get("shape") or []
    if len(size) != 3 or size[0] not in (1, 3):
        raise SettingError(f"the network takes no pictures: its examples are {tuple(size) or 'of unknown shape'}")
    return Preprocessing((size[1], size[2]), channels="gray" if size[0] == 1 else "RGB", shorter_side=min(size[1:]))


def in_colors_of(network: Network, picture: Tensor) -> Tensor:
    """The picture (1, 3, h, w), or its luminance for a network that takes gray ones."""
    return luminance(picture) if picture_channels(network) == 1 else picture


def _finer(path: str, known: Preprocessing) -> Tensor:
    height, width = known.height_width or (SIDE, SIDE)
    side = known.reading_side or min(height, width)
    finer = replace(known, size=(FINER * height, FINER * width), shorter_side=FINER * side)
    return read_photo(path, finer)[0]


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
