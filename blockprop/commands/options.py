"""What several commands take, and how it is read."""

import ast
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from PIL import Image

from blockprop import blocks
from blockprop.data.arrays import is_idx
from blockprop.data.dataset import Data, Dataset
from blockprop.data.encoding import TableEncoder
from blockprop.data.reading import TABLES, read_data
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import LOSSES, Loss, cross_entropy, mean_squared_error
from blockprop.errors import BlockpropError, SettingError, suggestion
from blockprop.networks.build import blocks_in
from blockprop.networks.shipped import NAMES, is_shipped, shipped
from blockprop.pictures.image_files import is_image
from blockprop.saving.storage import load

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Decides everything random: weights, order, dropout.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
Target = Annotated[str | None, typer.Option(help="The column of a table to predict; by default the last.")]
LossName = Annotated[str | None, typer.Option("--loss", help=f"{', '.join(LOSSES)}; by default what suits the target.")]
Blocks = Annotated[
    str | None,
    typer.Option("--blocks", help="A Python file with blocks of your own that NETWORK uses; its code is run."),
]
DIGIT = 32
"""Pixels of the longer side up to which a gray picture is taken for a digit."""
VARIABLE = "BLOCKPROP_NETWORK"
"""Of the environment: the network to use where none is named."""
SHIPPED = " or ".join(NAMES)
SavedNetwork = Annotated[
    str,
    typer.Argument(
        metavar="[NETWORK]", envvar=VARIABLE, help=f"A saved network, or {SHIPPED}, which come with blockprop."
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="An .npz, .csv, .tsv or .parquet file; a folder with one folder of pictures per class; a folder of "
        "MNIST's IDX files; or by name: digits, iris, wine, breast_cancer, diabetes.",
    ),
]


def task_of(loss: str | None) -> str | None:
    """Whether a loss wants classes or numbers; None if the data decide."""
    if loss is None:
        return None
    return "classify" if loss in ("cross_entropy", "negative_log_likelihood") else "regress"


def device_named(name: str) -> torch.device:
    """The device, if it is there; SettingError otherwise."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"the device {name!r} cannot be used here ({str(error).splitlines()[0]})") from None
    return device


def loss_for(data: Dataset, name: str | None = None, label_smoothing: float = 0.0) -> Loss:
    """The loss by name, or the usual one: cross-entropy for classes, mean squared error for numbers."""
    if name is None:
        return cross_entropy(label_smoothing=label_smoothing) if data.classes else mean_squared_error()
    if name not in LOSSES:
        raise SettingError(f"there is no loss {name!r}{suggestion(name, LOSSES)}")
    make: Any = LOSSES[name]
    if not label_smoothing:
        return make()
    if "label_smoothing" not in inspect.signature(make).parameters:
        raise SettingError(f"label smoothing is for classes; {name} has none")
    return make(label_smoothing=label_smoothing)


def load_network(path: str, own_blocks: str | None, device: str = "cpu") -> Network:
    """A saved network, with the blocks of a Python file known if one is given; or one that comes with the package."""
    if is_shipped(path):
        return shipped(path).to(device_named(device))
    return load(path, blocks=blocks_in(own_blocks) if own_blocks else None).to(device_named(device))


def network_for_data(source: str) -> str:
    """Which of the networks that come with the package suits these data."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    first = next((path for path in sorted(Path(source).rglob("*")) if is_image(path)), None)
    if first is not None:
        return network_for_photos([str(first)])
    shape = read_data(source, need_labels=False).train.shape
    if len(shape) != 3:
        raise SettingError(
            f"{source}: its examples are no pictures; say which network, {SHIPPED} are for pictures alone"
        )
    return "digits" if shape[0] == 1 and max(shape) <= DIGIT else "pictures"


def network_for_photos(pictures: Sequence[str] = ()) -> str:
    """That of the environment, or which of the package's looks at these: "digits" if all are small and gray."""
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    return "digits" if pictures and all(map(_is_small_and_gray, pictures)) else "pictures"


def _is_small_and_gray(path: str) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode in ("1", "L", "LA", "I;16") and max(image.size) <= DIGIT
    except OSError:
        return False


def is_network(argument: str) -> bool:
    """Whether an argument names a network rather than data."""
    path = Path(argument)
    if is_shipped(argument) or path.suffix.lower() == ".safetensors" or (path / "network.json").is_file():
        return True
    known = path.suffix.lower() in (".npz", *TABLES) or is_image(path)
    return path.is_file() and not known and not is_idx(path)


def examples_for(
    network: Network, source: str, *, target: str | None = None, need_labels: bool = True
) -> tuple[Dataset, str]:
    """(data, which part): in the shape and with the classes and columns that the network was trained with.

    The data's own test part; or, if the network was trained on these data, what was held out then; or all.
    """
    meta = network.meta
    size = meta.get("shape") or []
    pictures = len(size) == 3
    held_out = meta.get("held_out") or {}
    same = held_out.get("source") == identity(source)
    data: Data = read_data(
        source,
        target=target or (meta.get("target") if need_labels else None),
        encoder=TableEncoder.from_dict(meta["encoder"]) if meta.get("encoder") else None,
        need_labels=need_labels,
        test_fraction=held_out["fraction"] if same and need_labels else 0.0,
        seed=held_out["seed"] if same else 0,
        size=(size[1], size[2]) if pictures else None,
        channels=size[0] if pictures else None,
        classes=meta.get("classes") or None,
        task="classify" if meta.get("classes") else None,
    )
    if data.test is None:
        return data.train, "all"
    return data.test, "held out in training" if same else "test part"


def identity(source: str) -> str:
    """What tells one source of data from another: its full path, or its name if it is no file."""
    return os.path.abspath(source) if os.path.exists(source) else source


def numbers(text: str) -> tuple[int, ...]:
    """ "2,3,8" as (2, 3, 8); SettingError for anything else."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise SettingError(f"expected a shape such as 2,3,8,8, came {text!r}")
    return found


def block_named(text: str) -> Block | None:
    """The block that "Conv2d(3, 8, 3)" describes; None if the text does not begin with a block's name.

    Only plain numbers, text and tuples are read as settings: nothing in the text is run.
    """
    name, bracket, _ = text.partition("(")
    if name not in blocks.BLOCKS:
        return None
    try:
        call: Any = ast.parse(text if bracket else f"{text}()", mode="eval").body
        settings = [ast.literal_eval(argument) for argument in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        return blocks.BLOCKS[name](*settings, **named)
    except BlockpropError:
        raise
    except (SyntaxError, ValueError, TypeError, AttributeError) as error:
        raise SettingError(f"{text!r} does not describe a block: {error}") from None


def checkpoint_beside(path: Path) -> Path:
    """Where training keeps its checkpoint while it makes the network at `path`."""
    return path.with_name(path.name + ".checkpoint")
