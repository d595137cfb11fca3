"""Arrays of pictures in another size or number of channels, as folders of pictures are read."""

from dataclasses import replace

from torch import Tensor

from blockprop.data.dataset import Data, Dataset
from blockprop.errors import DataError
from blockprop.pictures.colors import luminance
from blockprop.pictures.scaling import scaled

BATCH = 256
"""Pictures that are scaled at a time."""


def in_size(data: Data, size: tuple[int, int] | None, channels: int | None) -> Data:
    """The data with all pictures of this size, (h, w), and with so many channels; a note says so."""
    train, before = data.train, data.train.shape
    if len(before) != 3:
        return data
    wanted = (channels or before[0], *(size or before[1:]))
    if wanted == before and (data.test is None or data.test.shape == wanted):
        return data
    told = f"{train.name}: pictures of {_named(before)} were brought to {_named(wanted)}"
    test = None if data.test is None else _in_size(data.test, wanted)
    return replace(data, train=_in_size(train, wanted), test=test, notes=(*data.notes, told))


def _named(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} pixels, {'gray' if shape[0] == 1 else 'in color'}"


def _in_size(data: Dataset, wanted: tuple[int, ...]) -> Dataset:
    channels, height, width = wanted
    x = data.x.new_empty(len(data.x), channels, height, width)
    for part, brought in zip(data.x.split(BATCH), x.split(BATCH), strict=True):
        brought.copy_(scaled(_in_channels(part, channels, data.name), height, width))
    return replace(data, x=x)


def _in_channels(x: Tensor, channels: int, name: str) -> Tensor:
    if x.shape[1] == channels:
        return x
    if {x.shape[1], channels} != {1, 3}:
        raise DataError(f"{name}: expected pictures with {channels} channels, came {x.shape[1]}")
    return luminance(x) if channels == 1 else x.expand(-1, 3, -1, -1)
