"""How a picture was made: the facts that are written into its file, and digests to compare by."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from blockprop.engine.network import Network
from blockprop.errors import DataError
from blockprop.pictures.picture_files import _require_picture
from blockprop.saving.files import StrPath
from blockprop.saving.fingerprints import fingerprint
from blockprop.version import __version__


def how_made(
    command: str,
    arguments: Mapping[str, Any],
    seed: int | None = None,
    network: Network | None = None,
    pictures: Iterable[StrPath] = (),
) -> dict[str, Any]:
    """What is needed to make the same picture again, for `write_picture`.

    {"command", "arguments", "seed", "versions": {"blockprop", "torch"}, "network": fingerprint, "classes": the same of
    their names, "pictures": {path as given: SHA-256}}. Paths stay as the user typed them.
    Raises DataError if an input picture is gone.
    """
    return {
        "command": command,
        "arguments": {name: _typed(value) for name, value in arguments.items()},
        "seed": seed,
        "versions": {"blockprop": __version__, "torch": torch.__version__},
        "network": None if network is None else fingerprint(network),
        "classes": None if network is None else _digest_of(network.meta.get("classes")),
        "pictures": {str(path): file_digest(path) for path in pictures},
    }


def _typed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value


def _digest_of(names: Any) -> str | None:
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16] if names else None


def file_digest(path: StrPath) -> str:
    """SHA-256 of the file's content, in hexadecimal. Raises DataError if it cannot be read."""
    _require_picture(path)
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} could not be read ({error.strerror or error})") from None
