"""Inputs that maximize a class score, or that of any unit, channel, layer or direction.

run = maximize(network, "goose")
for step in run:
    print(step.step, step.value)
"""

from collections.abc import Iterable

from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.errors import GraphError, SettingError, no_such
from blockprop.pictures.framing import preprocessing_of
from blockprop.pictures.photos import picture as checked
from blockprop.saving.files import StrPath
from blockprop.visualize.ascent import Ascent, ascend
from blockprop.visualize.objectives import penalties
from blockprop.visualize.objectives.each import Each
from blockprop.visualize.objectives.scores import Target, score
from blockprop.visualize.pipeline import Canvas, Start, canvas_by_name, pipeline, resized, robust
from blockprop.visualize.updates import Optimizer

SIDE = 224
"""Pixels of a picture for a network that does not say which size it wants."""
STEPS = 128
USUAL_PENALTIES = 100.0, 1000.0
"""l2 and total_variation, for scores that reach 20 to 100."""
PENALTIES = {"pictures": (10.0, 1000.0), "digits": (1.0, 50.0)}
"""By meta["architecture"]; label smoothing keeps the scores of these two below 10."""


def maximize(
    network: Network,
    target: Target,
    size: int | tuple[int, int] | None = None,
    steps: int = STEPS,
    *,
    start: Start = "noise",
    canvas: str | Canvas = "fourier",
    transforms: Iterable[Block] | None = None,
    l2: float | None = None,
    total_variation: float | None = None,
    doubt: float = 3.0,
    count: int = 1,
    diversity: float = 0.0,
    diversity_node: str | None = None,
    seed: int = 0,
    rate: float = 0.05,
    optimizer: Optimizer = "adam",
    redirect_steps: int = 16,
    preview_every: int | None = None,
    state: StrPath | None = None,
    resume: bool = False,
    output: str | None = None,
    memory: int | str | None = None,
) -> Ascent:
    """Make pictures that a network sees the target in:  arg max S(I) − penalties, by gradient ascent.

    Returns the run, an iterator of PictureRecords; the last one holds the picture, and `picture()` gives it any time.
    Canvas, transforms, rate and redirection are those of Olah et al. 2017 (lucid). The penalties are in favor of gray
    and smooth (Simonyan et al. 2013, eq. 1; Mahendran and Vedaldi 2015, eq. 4), and of one class over similar classes.

    network: takes pictures in 0…1; its weights stay fixed
    target: what is maximized, see `score`; `each(network, targets)` gives every one of several targets its own picture
    size: of the picture, (h, w) or one number for both; by default that of `start`, or what the network was made for
    start: "noise", "gray" or a picture, (1, channels, h, w), which is resized to `size`
    canvas: "fourier", "pixels" or one of pipeline.py's
    transforms: what the picture should survive; by default `robust`. () for none: then it is usually noise to us
    l2 λ, total_variation, doubt: factors of these penalties, see objectives/penalties.py; doubt is for classes only.
        The first two are by default what suits known networks, of others 100 and 1000.
    count: so many pictures (of every target)
    diversity: factor of how alike pictures of one target may be to `diversity_node`, a node with height and width
    rate, optimizer, redirect_steps, preview_every, state, resume, memory: see `ascend`.   output: see `score`.
    Raises SettingError and GraphError for what makes no sense; and what `ascend` raises.
    """
    objective = score(network, target, output)
    targets = objective if isinstance(objective, Each) else Each([objective])
    if count < 1:
        raise SettingError(f"expected at least one picture of a target, came count={count}")
    if isinstance(start, Tensor):
        start = checked(start, network)
    if not isinstance(canvas, Canvas):
        channels = _channels(network)
        canvas = canvas_by_name(canvas, *picture_size(network, size, start), channels)
    height, width = canvas.shape[1:]
    start = resized(start, height, width) if isinstance(start, Tensor) else start
    graph = pipeline(network, canvas, robust(height, width) if transforms is None else transforms)
    if doubt and targets.scores_node:
        objective = objective - doubt * penalties.doubt(targets.scores_node, targets.class_numbers)
    usual = PENALTIES.get(str(network.meta.get("architecture")), USUAL_PENALTIES)
    l2, total_variation = (usual[i] if weight is None else weight for i, weight in enumerate((l2, total_variation)))
    if l2:
        objective = objective - l2 * penalties.l2()
    if total_variation:
        objective = objective - total_variation * penalties.total_variation()
    if diversity_node is not None:
        if not diversity:
            raise SettingError(f"diversity_node={diversity_node!r} is for diversity, which is 0")
        if diversity_node not in network.keys:
            inner = [key for key in network.keys if key not in network.inputs]
            raise GraphError(no_such("node", diversity_node, inner))
    if diversity:
        if diversity_node is None or count < 2:
            raise SettingError(
                "diversity needs count=2 or more pictures, and diversity_node=…, a node to compare them in"
            )
        objective = objective - diversity * penalties.diversity(diversity_node, len(targets.objectives))
    return ascend(
        graph,
        canvas.start(len(targets.objectives) * count, start, seed),
        objective,
        steps,
        rate,
        optimizer,
        redirect_steps=redirect_steps,
        preview_every=preview_every,
        seed=seed,
        state=state,
        resume=resume,
        memory=memory,
    )


def _channels(network: Network) -> int:
    preprocessing = preprocessing_of(network)
    if preprocessing is not None:
        return preprocessing.count
    return int(network.meta["shape"][0]) if len(network.meta.get("shape", ())) == 3 else 3


def picture_size(
    network: Network, size: int | tuple[int, int] | None = None, start: Start = "noise"
) -> tuple[int, int]:
    """(h, w) of a picture that is made for a network, if nothing else is said."""
    if isinstance(size, int):
        return size, size
    if size is not None:
        return size
    if isinstance(start, Tensor):
        return start.shape[2], start.shape[3]
    preprocessing = preprocessing_of(network)
    if preprocessing is not None and preprocessing.height_width:
        return preprocessing.height_width
    shape = network.meta.get("shape", ())
    return (shape[1], shape[2]) if len(shape) == 3 else (SIDE, SIDE)
