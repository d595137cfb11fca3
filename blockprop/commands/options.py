"""Options and arguments that several commands take."""

import os
from typing import Annotated

import typer

from blockprop.commands import choices
from blockprop.errors import SettingError

LARGEST = 2**31 - 1
"""Of the whole numbers among settings."""
MOST_STEPS = 1_000_000
"""And of those that say how often something is done."""
MOST_PICTURES = 10_000
"""And of those that say how many pictures are made."""


def checked_seed(seed: int) -> int:
    """Not larger than LARGEST."""
    if seed > LARGEST:
        raise typer.BadParameter(f"expected at most {LARGEST}, came {seed}")
    return seed


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Seed = Annotated[
    int,
    typer.Option(min=0, callback=checked_seed, help="Decides everything random: weights, order, dropout."),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
TargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="The column of a table to predict; by default the last.")
]
RATE = ("--rate", "--lr", "--learning-rate")
BATCH_SIZE = ("--batch-size", "--batch")
"""The spellings of options that have several."""
LossName = Annotated[
    str | None, typer.Option("--loss", help=f"{', '.join(choices.LOSSES)}; by default what suits the target.")
]
Blocks = Annotated[
    str | None,
    typer.Option("--blocks", help="A Python file with blocks of your own that NETWORK uses; its code is run."),
]
OpaqueNodes = Annotated[
    bool,
    typer.Option(
        "--opaque",
        help="Load NETWORK though it names operators of torch to be run (opaque nodes): only if you trust its source.",
    ),
]
VARIABLE = "BLOCKPROP_NETWORK"
"""Of the environment: the network to use where none is named."""
SHIPPED = " or ".join(choices.SHIPPED)
PreprocessingOption = Annotated[
    str | None,
    typer.Option(
        "--preprocessing",
        metavar="FILE",
        help="What a network that does not say so itself expects of a picture: a .json or .toml file with size, range, "
        "mean, scale, channels, shorter_side, classes; or imagenet (as torchvision's networks), or caffe.",
    ),
]
CropLearned = Annotated[
    str | None,
    typer.Option(
        "--crop",
        help="What a network learns from of each photograph: center: the middle, as much as goes into the size; "
        "stretch: all of it, in that size; whole: all of it as it is, if all have one size. By default as the network "
        "was made, or else the center.",
        show_default=False,
    ),
]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave out pictures that cannot be read, and name them.")
]
SavedNetwork = Annotated[
    str | None,
    typer.Argument(
        metavar="[NETWORK]",
        envvar=VARIABLE,
        help=f"A saved network, or {SHIPPED}, which come with blockprop; by default pictures.",
    ),
]
NetworkOption = Annotated[
    str | None,
    typer.Option("--network", "-n", help="The same as NETWORK, spelled as for the commands that make pictures."),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="An .npz, .csv, .tsv or .parquet file; a folder with one folder of pictures per class; a folder of "
        "MNIST's IDX files; or by name: digits, iris, wine, breast_cancer, diabetes.",
    ),
]


def one_network(argument: str | None, option: str | None) -> str | None:
    """The network that is named as an argument or by --network; SettingError if both name one.

    That of the environment, which stands in for the argument, gives way.
    """
    if option is not None and argument not in (None, option, os.environ.get(VARIABLE)):
        raise SettingError(f"two networks are named, {argument} and --network {option}; expected one")
    return argument if option is None else option
