"""Options and arguments that several commands take."""

from typing import Annotated

import typer

from blockprop.engine.objectives import LOSSES
from blockprop.networks.shipped import NAMES

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Decides everything random: weights, order, dropout.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
TargetOption = Annotated[str | None, typer.Option(help="The column of a table to predict; by default the last.")]
LossName = Annotated[str | None, typer.Option("--loss", help=f"{', '.join(LOSSES)}; by default what suits the target.")]
Blocks = Annotated[
    str | None,
    typer.Option("--blocks", help="A Python file with blocks of your own that NETWORK uses; its code is run."),
]
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
