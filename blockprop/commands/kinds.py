"""Which kind of data a network is for, in words: tables, pictures, sequences, tokens; and that it is given no other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from blockprop.data.dataset import Dataset
from blockprop.data.reading import NAMES, TABLES
from blockprop.data.tables.encoder import TableEncoder
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, SettingError
from blockprop.networks.build import looks_up
from blockprop.pictures.image_kinds import files_in, is_image

COLUMNS_NAMED = 6
"""Columns of a table that are named."""


def made_for(network: Network) -> str:
    """What a network is for, in the plural: "gray pictures of 1 x 8 x 8"; "" if it does not say."""
    meta, shape = network.meta, network.meta.get("shape") or []
    if encoder := meta.get("encoder"):
        names = [column.name for column in TableEncoder.from_dict(encoder).columns]
        some = ", ".join(names[:COLUMNS_NAMED]) + (", …" if len(names) > COLUMNS_NAMED else "")
        return f"tables with {len(names)} column{'s' * (len(names) != 1)} ({some})"
    if meta.get("picture") and not shape:
        return "pictures"
    if len(shape) == 1 and looks_up(network):
        return f"sequences of {shape[0]} whole numbers (tokens)"
    return _in_words(shape)


def require_source(network: Network, source: str) -> None:
    """SettingError if a file or folder is of another kind than the network is for, as far as its name tells."""
    _require_input(network)
    if not (purpose := made_for(network)):
        return
    pictures = "pictures" in purpose
    if names_table(source) and not purpose.startswith(("tables", "rows")):
        raise _other(purpose, f"{source} is a table")
    if pictures:
        return
    if is_image(Path(source)):
        raise _other(purpose, f"{source} is a picture")
    if Path(source).is_dir() and files_in(Path(source)).pictures:
        raise _other(purpose, f"{source} is a folder of pictures")


def require_examples(network: Network, data: Dataset, source: str) -> None:
    """SettingError that says both kinds if the network cannot take the first of the examples."""
    purpose = made_for(network)
    if not purpose or not len(data):
        return
    try:
        network(fitting(data.x[:1], network))
    except BlockpropError as error:
        if list(data.shape) == list(network.meta.get("shape") or ()) and not looks_up(network):
            raise
        came = f"{source} {'is a table that gives' if names_table(source) else 'holds'} {_in_words(data.shape)}"
        raise _other(purpose, came) from error


def require_pictures(network: Network) -> None:
    """SettingError if the network is for something else than pictures."""
    _require_input(network)
    purpose = made_for(network)
    if purpose and "pictures" not in purpose:
        raise _other(purpose, "this command is for networks that see pictures")


def _require_input(network: Network) -> None:
    if not network.inputs:
        raise SettingError(
            "this network has no input, it gives what its own parameters say: neither pictures nor other data go in"
        )


def as_taken(network: Network, data: Dataset) -> Dataset:
    """The data, with whole numbers as such for a network that looks them up in a table."""
    if looks_up(network) and data.x.is_floating_point() and bool((data.x == data.x.round()).all()):
        return replace(data, x=data.x.long())
    return data


def names_table(source: str) -> bool:
    """Whether data are a table, by file or by name."""
    return Path(source).suffix.lower() in TABLES or (source in NAMES and source != "digits")


def _other(purpose: str, came: str) -> SettingError:
    return SettingError(f"this network is for {purpose}; {came}")


def _in_words(shape: Sequence[int]) -> str:
    if len(shape) == 3:
        return f"{'gray ' if shape[0] == 1 else ''}pictures of {' x '.join(map(str, shape))}"
    if len(shape) == 2:
        return f"sequences of {shape[0]} steps with {shape[1]} numbers each"
    if len(shape) == 1:
        return f"rows of {shape[0]} number{'s' * (shape[0] != 1)}"
    return f"examples of {' x '.join(map(str, shape))}" if shape else ""
