"""What a network needs to see a picture travels with the network: as blocks at its front, and as plain data in `meta`.

    network = with_preprocessing(network, Preprocessing(227, 255.0, (104, 117, 123), channels="BGR"), classes)
    y = network(read_photo("cat.jpg", network))

A picture is (n, 3, h, w), RGB, 0…1 everywhere in blockprop (gray: (n, 1, h, w)); what one network wants instead is
never guessed from its name, but said once: by the caller, or by a small file beside the network.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.precision import all_finite
from blockprop.errors import BlockpropError, DataError, SettingError, ShapeError, shape
from blockprop.pictures.framing import preprocessing_of, reading_size, sight
from blockprop.pictures.image_files import MOST_PIXELS, read_image
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.files import StrPath

OTHER_SIZE = 64
"""So many more pixels per side does the second size have with which a network is tried out."""


def with_preprocessing(
    network: Network, preprocessing: Preprocessing | None = None, classes: Sequence[str] | None = None
) -> Network:
    """A network that takes pictures in 0…1: the same blocks, with those of the preprocessing in front of them.

    Nodes "picture.size" (if the network takes no other size), "picture.channels" (for BGR) and "picture.scale"; the
    input keeps its name. `meta` gets the preprocessing as "picture", the "classes" and one example's "shape".
    preprocessing: by default what `meta` holds as "preprocessing", for networks with published weights.
    classes: their names by number; by default those in `meta`.
    Raises SettingError for a network with several inputs or preprocessing of its own, for one that cannot take pictures
    of this size, and if there is not one name for each output.
    """
    preprocessing = _for_network(network, preprocessing)
    resized = _try_out(network, preprocessing, classes)
    source = first = network.inputs[0]
    front = []
    for name, block in preprocessing.blocks(resized).items():
        front.append(Node(_free_name(name, network), block, (source,)))
        source = front[-1].name
    nodes = [Node(node.name, node.block, _moved(node.inputs, first, source)) for node in network.nodes]
    meta = network.meta.copy()
    meta.pop("preprocessing", None)
    meta.pop("crop", None)  # the preprocessing says it
    meta["picture"] = preprocessing.to_dict()
    if classes is not None:
        meta["classes"] = list(classes)
    if preprocessing.height_width:
        meta["shape"] = [preprocessing.count, *preprocessing.height_width]
    if resized and (free := meta.get("free")) is not None:
        meta["free"] = free | {first: sorted({*free.get(first, ()), 2, 3})}
    if resized and (sizes := meta.get("sizes")) and first in sizes:
        meta["sizes"] = sizes | {first: [*sizes[first][:2], None, None]}
    return Network([*front, *nodes], network.inputs, _moved(network.outputs, first, source), meta)


def picture_channels(network: Network) -> int:
    """How many channels the pictures have that a network takes: 1 for gray, else 3."""
    settings, size = preprocessing_of(network), network.meta.get("shape") or []
    if settings is not None:
        return settings.count
    return 1 if len(size) == 3 and size[0] == 1 else 3


def read_photo(path: StrPath, preprocessing: Preprocessing | Network) -> Tensor:
    """A photograph as the network expects it, (1, 3, h, w) or gray (1, 1, h, w) in 0…1.

    preprocessing: of a network, what `sight` says; of settings without a size, all of the photograph.
    Scaled bilinearly (smoothed where it shrinks) and cut as by torchvision's Resize and CenterCrop.
    Raises DataError for a file that is no picture, SettingError for a network that has no preprocessing.
    """
    settings = preprocessing
    if isinstance(settings, Network):
        if not (settings.meta.get("picture") or settings.meta.get("shape")):
            raise SettingError("the network does not say what it expects of a picture; with_preprocessing(…) tells it")
        settings = sight(settings)
    return photo_of(read_image(Path(path), channels=settings.count), settings, path)


def photo_of(pixels: np.ndarray, settings: Preprocessing, path: StrPath) -> Tensor:
    """What `read_photo` gives, of pixels that are read already: uint8 (h, w, 3), or (h, w) for settings of gray ones.

    path: that errors name.
    """
    image = framed(Image.fromarray(pixels), settings, path)
    x = torch.from_numpy(np.asarray(image).copy()).float().div_(255)
    return x[None, None] if settings.count == 1 else x.permute(2, 0, 1).contiguous()[None]


def framed(image: Image.Image, settings: Preprocessing, path: StrPath) -> Image.Image:
    """The part of a picture that the settings want, in their size. DataError, naming the path, if it is too long."""
    size = settings.height_width
    if size == (image.height, image.width) and settings.shorter_side is None:
        return image
    if size and settings.crop == "stretch":
        return image.resize(size[::-1], Image.Resampling.BILINEAR)
    image = _scaled(image, settings, path)
    if size is None:
        return image
    top, left = round((image.height - size[0]) / 2), round((image.width - size[1]) / 2)
    return image.crop((left, top, left + size[1], top + size[0]))


def _for_network(network: Network, preprocessing: Preprocessing | None) -> Preprocessing:
    """The preprocessing, with the size that the network itself names if it takes no other one."""
    if network.meta.get("picture") is not None:
        raise SettingError("the network has preprocessing already; a second one in front would spoil its pictures")
    expected = network.meta.get("preprocessing")
    if preprocessing is None and expected is None:
        raise SettingError("the network does not say what it expects of a picture; pass a Preprocessing(…)")
    preprocessing = preprocessing or Preprocessing.from_dict(expected)
    if len(network.inputs) != 1:
        names = ", ".join(network.inputs)
        raise SettingError(f"expected a network with one input, for pictures; this one has {names}")
    example, free = network.meta.get("shape"), network.meta.get("free", {}).get(network.inputs[0], ())
    if example and len(example) != 3:
        raise SettingError(f"expected a network for pictures; this one takes examples of {tuple(example)}")
    if example and preprocessing.size is None and not {2, 3} <= set(free):
        return replace(preprocessing, size=(example[1], example[2]))
    return preprocessing


def _try_out(network: Network, preprocessing: Preprocessing, classes: Sequence[str] | None) -> bool:
    """Whether its pictures have to be resized. SettingError if it cannot take them, or has other classes."""
    if preprocessing.height_width is None:
        return False
    y = _outcome(network, preprocessing.count, preprocessing.height_width)
    if isinstance(y, BlockpropError):
        wanted = " x ".join(map(str, (preprocessing.count, *preprocessing.height_width)))
        raise SettingError(f"the network does not take pictures of {wanted}: {y}")
    if classes is not None and isinstance(y, Tensor) and y.dim() > 1 and y.shape[1] != len(classes):
        raise SettingError(f"{len(classes)} class names do not fit an output of {shape(y)}")
    free = network.meta.get("free")
    if free is not None:
        return not {2, 3} <= set(free.get(network.inputs[0], ()))
    height, width = preprocessing.height_width
    other = _outcome(network, preprocessing.count, (height + OTHER_SIZE, width + OTHER_SIZE))
    return isinstance(other, BlockpropError)


def _outcome(network: Network, channels: int, size: tuple[int, int]) -> Any:
    """What the network makes of a black picture, or the error that it raises."""
    try:
        return network(fitting(torch.zeros(1, channels, *size), network))
    except BlockpropError as error:
        return error


def _free_name(name: str, network: Network) -> str:
    taken = {*network.keys, *network.state, *(node.name for node in network.nodes)}
    numbered = (name if i == 1 else f"{name}{i}" for i in range(1, len(taken) + 2))
    return next(candidate for candidate in numbered if candidate not in taken)


def _moved(names: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if name == old else name for name in names)


def _scaled(image: Image.Image, settings: Preprocessing, path: StrPath) -> Image.Image:
    """The image just large enough to cover the box whose shorter side is settings.shorter_side."""
    if settings.reading_side is None:
        return image
    height, width = reading_size(settings, image.height, image.width)
    if height * width > MOST_PIXELS:
        raise DataError(f"{path}: {image.width} x {image.height} pixels are too long and thin for this network")
    return image.resize((width, height), Image.Resampling.BILINEAR)


def picture(image: Tensor, network: Network) -> Tensor:
    """The image as the network takes it: on its device, in its type of number. ShapeError if it is no picture."""
    if not isinstance(image, Tensor):
        raise ShapeError(f"expected a torch tensor with pictures, came a {type(image).__name__}")
    if image.dim() != 4 or not image.numel() or not image.is_floating_point():
        raise ShapeError(f"expected pictures (n, channels, h, w) of real numbers, came {shape(image)} {image.dtype}")
    if not all_finite(image) and not image.isfinite().all():  # the sum is soon found
        raise ShapeError("the picture holds numbers that are not finite")
    count = picture_channels(network)
    if network.meta.get("picture") and image.shape[1] != count:
        raise ShapeError(f"the network takes pictures of {count} channels, (n, {count}, h, w); came {shape(image)}")
    with torch.no_grad():
        return fitting(image.detach(), network)
