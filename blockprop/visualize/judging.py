"""How well a picture shows what it is meant to show: how sure networks are of a class in it.

judge(network, picture, "goose").confidence
"""

import io
import statistics
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blockprop.blocks import Jitter, Pad, RandomCrop, Resize
from blockprop.engine.network import Network
from blockprop.errors import SettingError, ShapeError, shape
from blockprop.pictures.photos import picture as checked
from blockprop.pictures.picture_files import from_pixels, to_pixels
from blockprop.visualize.objectives.score_kinds import ClassScore, TopScore, by_class
from blockprop.visualize.objectives.scores import Target, gives_classes, score

DRAWS = 16
QUALITY = 75


@torch.no_grad()
def class_probabilities(network: Network, picture: Tensor, target: Target, output: str | None = None) -> list[float]:
    """The probabilities of the classes that a target stands for, in one picture; empty if it stands for none.

    A network has classes if it names them, or ends with a softmax: other outputs are numbers of any kind.

    target: a class, "top", "top3": as in `score`.   Softmax over all classes; the mean over further axes before.
    """
    objective = score(network, target, output)
    if not isinstance(objective, ClassScore | TopScore):
        return []
    y = network.values(checked(picture, network), keep=(objective.node,))[objective.node]
    if not gives_classes(network, objective.node, by_class(y).shape[1]):
        return []
    decided = objective.fixed(y)
    assert isinstance(decided, ClassScore)
    numbers = [decided.numbers] if isinstance(decided.numbers, int) else decided.numbers[0].tolist()
    shares = _shares(y)[0]
    if max(numbers) >= len(shares):
        raise SettingError(f"{objective.node!r} has {len(shares)} classes, so there is no class {max(numbers)}")
    return [float(shares[number]) for number in numbers]


@dataclass(frozen=True)
class Judgement:
    """How sure networks are of a class in a picture, as probabilities after softmax.

    confidence: of the network, for the picture as it is.
    cropped: the median over random crops and shifts.   jpeg: after JPEG.
    agrees: whether another network has the class among its best five; with which probability: `transferred`.
    """

    confidence: float
    cropped: float
    jpeg: float
    agrees: bool | None = None
    transferred: float | None = None


@torch.no_grad()
def judge(
    network: Network,
    picture: Tensor,
    target: Target,
    other: Network | None = None,
    *,
    draws: int = DRAWS,
    quality: int = QUALITY,
    seed: int = 0,
    output: str | None = None,
) -> Judgement:
    """Measure how well a picture shows a class: to the network, when it is cropped or compressed, and to another one.

    picture: (1, channels, h, w) in 0…1, rounded to 8 bits before all   target: a class, by name or number
    crops: shifted by up to 1/16 of the sides, then 7/8 of the sides cut out at a random place and scaled to the full
        size again (bilinear); `draws` of them.   quality: of JPEG, its colors at half the resolution.
    other: another network that knows the class by the same name or number.   output: see `score`.
    Raises SettingError for a target that is no class, ShapeError for several pictures.
    """
    picture = checked(picture, network)
    if len(picture) != 1:
        raise ShapeError(f"expected one picture to judge, came {shape(picture)}")
    levels = to_pixels(picture[0])
    picture = from_pixels(levels)[None].to(picture)
    compressed = _compressed(levels, quality)[None].to(picture)
    node, number = _class(network, target, output)
    cropped = _probabilities(network, _crops(picture, draws, seed), node)[:, number]
    agrees = transferred = None
    if other is not None:
        other_node, other_number = _class(other, target)
        seen = _probabilities(other, picture, other_node)[0]
        agrees, transferred = bool((seen > seen[other_number]).sum() < 5), float(seen[other_number])
    return Judgement(
        float(_probabilities(network, picture, node)[0, number]),
        statistics.median(cropped.tolist()),
        float(_probabilities(network, compressed, node)[0, number]),
        agrees,
        transferred,
    )


def _class(network: Network, target: Target, output: str | None = None) -> tuple[str, int]:
    objective = score(network, target, output)
    if not isinstance(objective, ClassScore) or objective.number is None:
        raise SettingError(f"only how sure a network is of a class can be judged; {target!r} is none")
    return objective.node, objective.number


def _probabilities(network: Network, pictures: Tensor, node: str) -> Tensor:
    """(n, classes): softmax of the scores at a node; further axes are averaged over. One picture at a time."""
    scores = [network.values(checked(picture, network), keep=(node,))[node] for picture in pictures.split(1)]
    return _shares(torch.cat(scores))


def _shares(y: Tensor) -> Tensor:
    """(n, classes): softmax of scores, the mean over further axes before."""
    scores = by_class(y.float())
    return scores.flatten(2).mean(2).softmax(1) if scores.dim() > 2 else scores.softmax(1)


def _crops(picture: Tensor, draws: int, seed: int) -> Tensor:
    """The picture, shifted and cropped at random, `draws` times: (draws, channels, h, w)."""
    height, width = picture.shape[2:]
    reach = max(1, min(height, width) // 16)
    jitter, crop = Jitter(reach), RandomCrop((max(1, height * 7 // 8), max(1, width * 7 // 8)))
    jitter.generator = crop.generator = torch.Generator().manual_seed(seed)
    x = Pad((reach,) * 4, value=0.5)(picture.expand(draws, *picture.shape[1:]))
    cropped: Tensor = Resize((height, width), mode="bilinear")(crop(jitter(x)))
    return cropped


def _compressed(levels: np.ndarray, quality: int) -> Tensor:
    """What is left of a picture after JPEG."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling=2 if levels.ndim == 3 else -1)
    return from_pixels(np.asarray(Image.open(file)))
