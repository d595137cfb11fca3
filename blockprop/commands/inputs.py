"""Which network, which data and which loss a command is to use."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from blockprop.commands.console import say_all
from blockprop.commands.kinds import as_taken, names_table, require_examples, require_pictures, require_source
from blockprop.commands.losses import task_of_network
from blockprop.commands.options import SHIPPED, VARIABLE
from blockprop.commands.preprocessing import seeing
from blockprop.commands.sources import same_source
from blockprop.data.arrays import is_idx
from blockprop.data.dataset import Dataset
from blockprop.data.reading import TABLES, holds_photographs, read_data
from blockprop.data.sizing import in_size
from blockprop.data.tables.encoder import TableEncoder
from blockprop.engine.network import Network
from blockprop.errors import DataError, FormatError, SettingError, near
from blockprop.importers import from_onnx
from blockprop.networks.build import blocks_in, build_network
from blockprop.networks.shipped import NAMES as SHIPPED_NAMES
from blockprop.networks.shipped import is_shipped, shipped
from blockprop.pictures.framing import sight
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.pictures.image_kinds import RECOGNIZED, files_in, is_image
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load

DIGIT = 32
"""Pixels of the longer side up to which a gray picture is taken for a digit."""


def device_named(name: str) -> torch.device:
    """The device, if it is there; SettingError otherwise."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = re.split(r"[.\n]\s", str(error), maxsplit=1)[0]
        raise SettingError(f"the device {name!r} cannot be used here ({reason})") from None
    return device


def load_network(path: str, own_blocks: str | None, device: str = "cpu", opaque: bool = False) -> Network:
    """A saved network, with the blocks of a Python file known if one is given; an ONNX file's; or a shipped one.

    opaque: whether it may name operators of torch.
    """
    if is_shipped(path):
        return shipped(path).to(device_named(device))
    if path.lower().endswith(".onnx"):
        return from_onnx(path).to(device_named(device))
    if not Path(path).exists():
        beside = [*SHIPPED_NAMES, *(str(file) for file in Path(path).parent.glob("*.safetensors"))]
        if meant := near(path, beside, most=1):
            raise FormatError(f"{path} does not exist; did you mean {meant[0]}?")
    return load(path, blocks_in(own_blocks) if own_blocks else None, opaque).to(device_named(device))


def table_encoder(network: Network) -> TableEncoder | None:
    """How a network's tables become numbers, if it was trained on one."""
    saved = network.meta.get("encoder")
    return TableEncoder.from_dict(saved) if saved else None


def open_network(
    path: str,
    own_blocks: str | None = None,
    device: str = "cpu",
    preprocessing: str | None = None,
    quiet: bool = False,
    opaque: bool = False,
) -> Network:
    """The network of a file, with what it expects of pictures in front."""
    network = load_network(path, own_blocks, device, opaque)
    require_pictures(network)
    return seeing(network, path, preprocessing, quiet=quiet)


def network_for_data(source: str) -> str:
    """Which of the networks that come with the package suits these data."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    photos = photos_of(source)
    if photos:
        return network_for_photos([str(photos[0])])
    shape = () if names_table(source) else read_data(source, need_labels=False, warn=False).train.shape
    if len(shape) != 3:
        raise SettingError(
            f"{source}: its examples are no pictures; say which network, {SHIPPED} are for pictures alone"
        )
    return "digits" if shape[0] == 1 and max(shape) <= DIGIT else "pictures"


def photos_of(source: str) -> list[Path]:
    """The pictures in a folder; none if it is something else."""
    return files_in(Path(source)).pictures if Path(source).is_dir() else []


def network_for_photos(pictures: Sequence[str] = ()) -> str:
    """That of the environment, or which of the package's looks at these: "digits" if all are small and gray."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    answers = (answer for answer in map(_is_small_and_gray, pictures) if answer is not None)
    return "digits" if next(answers, False) and all(answers) else "pictures"


def _is_small_and_gray(path: str) -> bool | None:
    """None for what cannot be read, which does not decide for the others."""
    try:
        with Image.open(path, formats=RECOGNIZED) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image.load()
            return image.mode in ("1", "L", "LA", "I;16") and max(image.size) <= DIGIT
    except Exception:  # a damaged picture can fail in many ways
        return None


def is_network(argument: str) -> bool:
    """Whether an argument names a network rather than data."""
    path = Path(argument)
    if is_shipped(argument) or path.suffix.lower() == ".safetensors" or (path / "network.json").is_file():
        return True
    is_data = path.suffix.lower() in (".npz", *TABLES) or is_image(path)
    return path.is_file() and not is_data and not is_idx(path)


def examples_for(
    network: Network,
    source: str,
    *,
    target: str | None = None,
    need_labels: bool = True,
    crop: str | None = None,
    skip_unreadable: bool = False,
) -> tuple[Dataset, str, tuple[str, ...]]:
    """(data, which part, notes): in the shape and with the classes and columns that the network was trained with.

    crop: of pictures, see `sight`.   skip_unreadable: see `read_data`.

    The data's own test part; or, if the network was trained on these data, what was held out then; or all.
    Raises DataError for a table if the network does not say how its columns become numbers.
    """
    require_source(network, source)
    meta = network.meta
    if not meta.get("encoder") and names_table(source):
        raise DataError(
            f"{source}: the network does not say how a table's columns become numbers: its meta['encoder'] is missing, "
            "which `blockprop train` writes and data.encoder.to_dict() gives; or pass arrays of numbers as .npz"
        )
    held_out, warning = same_source(meta, source) if need_labels else (None, "")
    how = pictures_for(network, source, crop)
    of_arrays = {} if holds_photographs(Path(source)) else {name: how.pop(name, None) for name in ("size", "channels")}
    try:
        data = read_data(
            source,
            target=target or (meta.get("target") if need_labels else None),
            encoder=table_encoder(network),
            need_labels=need_labels,
            test_fraction=held_out["fraction"] if held_out else 0.0,
            seed=held_out["seed"] if held_out else 0,
            **how,
            skip_unreadable=skip_unreadable,
            classes=meta.get("classes") or None,
            task=task_of_network(network),
            warn=False,
        )
    except DataError:
        _require_kind(network, source)
        raise
    part = "all" if data.test is None else "held out in training" if held_out else "test part"
    data = replace(data, train=data.train if data.test is None else data.test, test=None)
    if of_arrays:  # Arrays may be large, and their training part much larger: it keeps its size.
        data = in_size(data, **of_arrays)
    examples = as_taken(network, data.train)
    require_examples(network, examples, source)
    return examples, part, (*data.notes, *([warning] if warning and part == "all" else []))


def _require_kind(network: Network, source: str) -> None:
    """SettingError if data whose labels do not fit a network are of another kind altogether, which says more."""
    try:
        data = read_data(source, need_labels=False, warn=False).train
    except DataError:
        return
    require_examples(network, as_taken(network, data), source)


def pictures_for(network: Network, source: str, crop: str | None = None) -> dict[str, Any]:
    """How pictures are read for a network that takes some: arguments of `read_data`."""
    shape = network.meta.get("shape") or []
    if len(shape) != 3 or shape[0] not in (1, 3):
        return {"sight": sight_for(network, source, crop), "crop": crop}
    how = {"size": (shape[1], shape[2]), "channels": shape[0], "crop": crop}
    return {"sight": sight_for(network, source, crop), **how}


def sight_for(network: Network, source: str, crop: str | None = None) -> Preprocessing | None:
    """What the network sees of each picture of a source; None for other data, and if the network says nothing of it."""
    of_photos = is_image(Path(source)) or bool(photos_of(source))
    return sight(network, crop) if of_photos and (network.meta.get("shape") or network.meta.get("picture")) else None


def network_and_examples(
    network: str,
    source: str,
    target: str | None,
    own_blocks: str | None,
    seed: int,
    preprocessing: str | None = None,
    skip_unreadable: bool = False,
    opaque: bool = False,
) -> tuple[Network, Dataset]:
    """A saved network with data as it was trained on them, or a new network for the data."""
    if is_saved_network(network):
        net = load_network(network, own_blocks, opaque=opaque)
        require_source(net, source)
        net = seeing(net, network, preprocessing, bool(photos_of(source)))
        data, _, notes = examples_for(net, source, target=target, skip_unreadable=skip_unreadable)
    else:
        parts = read_data(source, target=target, seed=seed, skip_unreadable=skip_unreadable, warn=False)
        data, notes = parts.train, parts.notes
        net = build_network(network, data.shape, data.output_count, seed)
    say_all(notes)
    return net, data


def is_saved_network(network: str) -> bool:
    return is_shipped(network) or (Path(network).exists() and not network.endswith(".py"))
