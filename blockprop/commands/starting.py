"""Where training starts: from a new network for the data, or from one that has learned something else."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from blockprop.commands.console import say
from blockprop.commands.inputs import is_saved_network, load_network, table_encoder
from blockprop.commands.kinds import as_taken, require_examples, require_source
from blockprop.commands.parsing import size_named
from blockprop.commands.preprocessing import seeing
from blockprop.commands.sources import name_of, same_source
from blockprop.data.dataset import Data, Dataset
from blockprop.data.image_folders import require_no_size
from blockprop.data.reading import read_data
from blockprop.engine.about import About
from blockprop.engine.network import Network
from blockprop.errors import DataError, SettingError
from blockprop.networks.build import blocks_in, build_network, require_fit
from blockprop.networks.heads import head_of, with_outputs
from blockprop.pictures.framing import sight, takes_any_size
from blockprop.pictures.preprocessing import Preprocessing

ALL = "all"
"""What --freeze calls everything but the last layer with weights."""


@dataclass(frozen=True)
class StartingPoint:
    """A network to start from, as its text says; `saved` is None if it is to be made for the data.

    pictures: how they are read, arguments of `read_data`.   crop: which part of photographs it learns from.
    """

    spec: str
    own_blocks: str | None
    saved: Network | None
    pictures: dict[str, Any]
    crop: str | None = None

    @classmethod
    def of(
        cls,
        spec: str,
        own_blocks: str | None,
        size: str | None,
        channels: int | None,
        preprocessing: str | None = None,
        crop: str | None = None,
        opaque: bool = False,
    ) -> "StartingPoint":
        """Read the network, if it is a file's or comes with the package, and see which pictures it takes."""
        wanted = size_named(size)
        as_told = {"size": wanted, "channels": channels, "crop": crop}
        if not (is_saved_network(spec) or spec.lower().endswith(".onnx")):
            if preprocessing is not None:
                raise SettingError(f"preprocessing= is for a network that has learned; {spec} is new")
            return cls(spec, own_blocks, None, as_told, crop)
        network = _read(spec, own_blocks, preprocessing, opaque)
        shape = network.meta.get("shape") or []
        if len(shape) != 3 or shape[0] not in (1, 3):
            return cls(spec, own_blocks, network, as_told, crop)
        sees = sight(network, crop)
        if channels not in (None, sees.count):
            raise SettingError(f"channels: {spec} takes pictures with {sees.count}; leave it out")
        if wanted not in (None, sees.height_width):
            sees = _in_other_size(sees, network, wanted)
        seen = "whole" if sees.size is None else sees.crop
        return cls(spec, own_blocks, network, {"sight": sees, "crop": crop}, seen)

    def held_out(self, data: str, fraction: float, seed: int) -> tuple[float, int]:
        """Which part of the data is kept back: if the network was trained on them, what it has not seen since then."""
        before = None if self.saved is None else same_source(self.saved.meta, data)[0]
        if before is None or not before["fraction"] or (before["fraction"], before["seed"]) == (fraction, seed):
            return fraction, seed
        say(
            f"{data}: the network was trained on these data, so what is kept back to test is what was kept back then "
            f"(a share of {before['fraction']:g}, by the seed {before['seed']}), unless they have a test part"
        )
        return before["fraction"], before["seed"]

    def read(self, data: str, target: str | None, **settings: Any) -> Data:
        """The data as the network takes them: pictures of its size, a table with its columns, classes in its order."""
        if self.saved is not None:
            require_source(self.saved, data)
        meta = self.saved.meta if self.saved is not None else About()
        encoder = table_encoder(self.saved) if self.saved is not None else None
        settings |= self.pictures | {"target": target or meta.get("target")}
        try:
            parts = read_data(data, encoder=encoder, **settings)
        except DataError:
            if encoder is None:
                raise
            parts = read_data(data, encoder=encoder.for_other_labels(), **settings)  # if nothing else is wrong
        test, validation = (None if part is None else self._taken(part) for part in (parts.test, parts.validation))
        return replace(parts, train=self._taken(parts.train), test=test, validation=validation)

    def _taken(self, part: Dataset) -> Dataset:
        """A part of the data with the classes in the network's order, and of the type that it takes."""
        if self.saved is None:
            return part
        return as_taken(self.saved, in_order(part, tuple(self.saved.meta.get("classes") or ())))

    def network_for(self, data: Dataset, seed: int) -> tuple[Network, str | None]:
        """(the network for these data, the name of its last layer if that is new)."""
        if self.saved is None:
            blocks = blocks_in(self.own_blocks) if self.own_blocks else None
            network = build_network(self.spec, data.shape, data.output_count, seed, blocks)
            network.meta = self._told_of(network.meta)
            return network, None
        network, layer = self.saved, None
        require_examples(network, data, data.name)
        if _says_other_things(network, data):
            layer = head_of(network).layer.name
            network = with_outputs(_for_examples(network, self.pictures.get("sight"), data), data.output_count)
        require_fit(network, self.spec, data.shape, data.output_count)
        about = self._told_of(_for_examples(network, self.pictures.get("sight"), data).meta)
        network.meta = About(spec=name_of(self.spec)) | about
        return network, layer

    def _told_of(self, about: About) -> About:
        """What a network says about itself, with the part of photographs that it learns from."""
        if self.crop is not None:
            about.pop("crop", None)
        if self.crop not in (None, "center"):
            about["crop"] = self.crop
        return about


def frozen_layer(network: Network, name: str | None) -> str | None:
    """The node up to which --freeze leaves the network as it is; "all" is what goes into the last layer."""
    if name != ALL:
        return name
    return head_of(network).layer.inputs[0]


def check_parts(parts: Data, test_fraction: float) -> None:
    """DataError for data that nothing can be learned from, before any work is done."""
    data = parts.train
    if data.classes is not None and (data.y is None or len(data.y.unique()) < 2):
        raise DataError(f"{data.name}: all examples are of one class, so there is nothing to learn")
    for use, part in (("test", parts.test), ("validation", parts.validation)):
        if part is not None and part.shape != data.shape:
            raise DataError(
                f"{data.name}: the training examples are {data.shape}, those of the {use} part {part.shape}"
            )
    if test_fraction > 0.9:
        raise SettingError(f"--test-fraction {test_fraction} leaves hardly anything to train on")


def in_order(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """The data with their classes in this order, if these are their names."""
    if data.classes is None or data.y is None or data.classes == names or sorted(data.classes) != sorted(names):
        return data
    numbers = torch.tensor([names.index(name) for name in data.classes])
    return replace(data, y=numbers[data.y], classes=names)


def _read(spec: str, own_blocks: str | None, preprocessing: str | None, opaque: bool) -> Network:
    """A saved or imported network; one for photographs with what it expects of them in front."""
    network = load_network(spec, own_blocks, opaque=opaque)
    return seeing(network, spec, preprocessing, photos=len(network.meta.get("shape") or []) == 3)


def _says_other_things(network: Network, data: Dataset) -> bool:
    """Whether the network's outputs are not those that the data ask for."""
    classes = network.meta.get("classes")
    if data.classes is not None and classes:
        return sorted(classes) != sorted(data.classes)
    shape = network.weightless()(torch.zeros(1, *data.shape, device="meta")).shape
    return bool(classes) != bool(data.classes) or tuple(shape) != (1, data.output_count)


def _in_other_size(sees: Preprocessing, network: Network, size: tuple[int, int] | None) -> Preprocessing:
    """The same part of a picture in another size."""
    if sees.size is None:
        require_no_size(size)
    old = sees.height_width or (1, 1)
    if not takes_any_size(network):
        raise SettingError(f"size: the network takes pictures of {old[1]} x {old[0]} pixels alone; leave it out")
    return sees.in_size(size or (1, 1))


def _for_examples(network: Network, sees: Preprocessing | None, data: Dataset) -> Network:
    """The network, whose meta says that examples are as the data's: photographs are seen as they were in training."""
    meta = About(network.meta)  # type: ignore[misc]
    meta["shape"] = list(data.shape)
    if sees is not None and meta.get("picture"):
        meta["picture"] = sees.to_dict()
    return Network(network.nodes, network.inputs, network.outputs, meta)
