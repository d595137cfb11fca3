"""Options and arguments that the commands that make pictures share."""

from pathlib import Path
from typing import Annotated

import typer

from blockprop.commands.choices import CANVASES, MANY, METHODS
from blockprop.commands.options import MOST_STEPS, RATE, VARIABLE, checked_seed

OPTION_ONLY = "an option that changes nothing in the picture, and does not stand in its file"
SETTING_ONLY = "a setting in the picture's file that is no option"

NetworkFile = Annotated[
    str | None,
    typer.Option(
        "--network",
        "-n",
        envvar=VARIABLE,
        help="A saved network, an .onnx file, or one that comes with blockprop: pictures (the default) or digits "
        "(that for small gray pictures).",
        show_default=False,
    ),
]
PHOTOS = "Photographs (PNG, JPEG, TIFF, WebP, …), or folders of them."
Photos = Annotated[list[str], typer.Argument(metavar="PHOTO...", help=PHOTOS)]
PhotosIfAny = Annotated[list[str] | None, typer.Argument(metavar="[PHOTO]...", help=PHOTOS)]
TokensOption = Annotated[
    str | None,
    typer.Option(
        "--tokens",
        metavar="5,17,3",
        help="Tokens in place of pictures, for a network that takes such; or a text file, a row of them on a line.",
    ),
]
LOOKED_AT = (
    "What is looked at: a class by name or number; top, top3: the likeliest; a node; node:channel; node:channel,y,x; "
    "3: is the node called 3"
)
LookedAt = Annotated[str, typer.Option("--target", "-t", help=f"{LOOKED_AT}.")]
LookedAtEach = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", help=f"{LOOKED_AT}; repeat it for several, a map each. By default top."),
]
Output = Annotated[
    str | None, typer.Option(help="Which output holds the scores of the classes, if the network has several.")
]
Crop = Annotated[
    str | None,
    typer.Option(
        "--crop",
        help="What the network sees of a photograph: center: the middle, scaled and cut out as for published accuracy; "
        "whole: all of it, if the network takes any size; stretch: all of it, in the network's proportions. By default "
        "as the network was made, which is the center.",
        show_default=False,
    ),
]
Side = Annotated[
    int | None,
    typer.Option(
        "--side",
        min=2,
        help="Pixels of the shorter side of what the network sees, if it takes any size; by default as it was made.",
    ),
]
MethodNames = Annotated[
    list[str] | None, typer.Option("--method", "-m", help=f"{', '.join(METHODS)}; repeat it for several, or all.")
]
Samples = Annotated[
    int, typer.Option(min=1, max=MOST_STEPS, help=f"Gradients of {', '.join(MANY[:-1])} and {MANY[-1]}.")
]
SizeOption = Annotated[
    str | None,
    typer.Option(
        metavar="SIDE or WIDTHxHEIGHT",
        help="Pixels of the picture; by default what the network was made for, or twice that if it is small.",
    ),
]
Steps = Annotated[int, typer.Option(min=1, max=MOST_STEPS, help="Steps up the gradient.")]
Rate = Annotated[float, typer.Option(*RATE, help="Step size.")]
CanvasName = Annotated[str, typer.Option(help=f"What the picture is made from: {', '.join(CANVASES)}.")]
L2 = Annotated[
    float | None, typer.Option("--l2", help="How strongly gray is preferred; by default 100, or as suits the network.")
]
Smooth = Annotated[
    float | None,
    typer.Option(help="How strongly smooth pictures are preferred; by default 1000, or as suits the network."),
]
Doubt = Annotated[float, typer.Option(help="How strongly the class is set apart from others.")]
Transforms = Annotated[
    list[str] | None,
    typer.Option(
        "--transform",
        help="What the picture should survive, a block such as 'Jitter(8)'; repeat it for several, or none. By default "
        "padded, shifted, scaled and turned at random.",
    ),
]
TileSide = Annotated[
    int, typer.Option(min=0, help="Pixels of the pieces in which large pictures are computed; 0: at once.")
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="'500 MB'",
        help="What a step or a gradient may take beside the weights: what would be kept is computed again, and where "
        "pictures are computed in pieces, these become smaller.",
        show_default=False,
    ),
]
PictureSeed = Annotated[int, typer.Option("--seed", min=0, callback=checked_seed, help="Decides everything random.")]
PreviewEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Write a preview beside --out every so many steps; it vanishes in the end."),
    OPTION_ONLY,
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the state beside --out that Ctrl-C left."), OPTION_ONLY
]
Report = Annotated[Path | None, typer.Option(metavar="FOLDER", help="A folder for a page about the result.")]
Stop = Annotated[int | None, typer.Option(min=1), SETTING_ONLY]
"""After how many steps Ctrl-C ended the run that made the picture."""
