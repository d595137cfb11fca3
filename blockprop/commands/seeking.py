"""Where files lie that a picture or a settings file names: where it says, seen from here, or beside it."""

import os
from pathlib import Path

from blockprop.commands.options import VARIABLE
from blockprop.networks.shipped import is_saved, is_shipped
from blockprop.pictures.image_kinds import is_image

NETWORKS = (".safetensors", ".onnx")


def beside(path: str, source: Path) -> str:
    """The path, taken from the folder of `source` and written from here, so that no picture tells of this machine."""
    there = source.parent / path
    return str(there) if os.path.isabs(path) or not source.is_absolute() else os.path.relpath(there)


def file_where(path: str, source: Path) -> str:
    """Where a file lies: where it was, or beside the picture."""
    there = beside(path, source)
    return there if not Path(path).exists() and Path(there).exists() else path


def network_where(path: str, source: Path) -> str:
    """Where a network lies: where it was, beside the picture, or where the environment says."""
    there = beside(path, source)
    if is_saved(Path(path)):
        return path
    if is_shipped(path) and not is_saved(Path(there)):
        return path
    return there if Path(there).exists() else os.environ.get(VARIABLE, path)


def sought(path: str, source: Path) -> str:
    """That a file was not found, and where it was sought."""
    places = dict.fromkeys((path, beside(path, source)))
    return f"{path} was not found ({' and '.join(places)} {'do' if len(places) > 1 else 'does'} not exist)"


def names_file(text: str) -> bool:
    """Whether a text is surely the name of a picture or a network."""
    return Path(text).suffix.lower() in NETWORKS or is_image(Path(text))
