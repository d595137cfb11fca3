"""The networks that come with the package, by name, trained by blockprop itself: see docs/our_network.md.

    network = shipped("pictures")

"pictures" tells ten kinds of things in photographs from each other, "digits" handwritten digits.
"""

from pathlib import Path

import torch

from blockprop.engine.network import Network
from blockprop.errors import SettingError, did_you_mean
from blockprop.saving.storage import load

NAMES = ("pictures", "digits")


def shipped(name: str) -> Network:
    """The network of this name, one of NAMES, in float32; its file holds float16. SettingError for another name."""
    if name not in NAMES:
        raise SettingError(
            f"no network {name!r} comes with blockprop; there are {', '.join(NAMES)}{did_you_mean(name, NAMES)}"
        )
    return load(Path(__file__).with_name(f"{name}.safetensors")).to(dtype=torch.float32)


def is_shipped(name: str) -> bool:
    """Whether this names a network that comes with the package, and none that somebody saved here."""
    return name in NAMES and not is_saved(Path(name))


def is_saved(path: Path) -> bool:
    """Whether a network may be saved there: a file, or a folder that holds one."""
    return path.is_file() or (path / "network.json").is_file()
