"""Sanity check of a method: what it shows must change when the network forgets what it has learned."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import plan_backward
from blockprop.errors import SettingError
from blockprop.pictures.photos import picture
from blockprop.visualize.attribution.question import Question
from blockprop.visualize.attribution.saliency import saliency
from blockprop.visualize.objectives.scores import Target, require_clear, score


class SanityRecord(NamedTuple):
    """One step: `layer` has been randomized, and so have all above it.

    step: from 1 on; steps: how many there will be.
    correlation: Spearman's rank correlation of the attribution's sum over channels with the original one.
    absolute: the same of the map, without signs. Both are means over the pictures, and 0 where nothing came back.
    """

    step: int
    steps: int
    layer: str
    correlation: float
    absolute: float


def sanity(
    network: Network,
    image: Tensor,
    target: Target = "top",
    method: str = "gradient",
    *,
    output: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> Iterator[SanityRecord]:
    """Randomize the network's weights layer by layer from the top down; compare each time with the original map.

    Each weight keeps its numbers in a random order, so that every layer stays as strong as it was. The target is
    decided once, by the network as it is, which stays untouched.
    Arguments and errors as for `saliency`.
    Source: Adebayo et al. 2018, section 3.1, cascading randomization. Departure: the new numbers are the old ones,
    permuted.
    """
    x = picture(image, network)
    require_clear(network, target, len(x))
    randomized, generator = network.copy(), torch.Generator().manual_seed(seed)
    question = Question(randomized, score(network, target, output))
    question.decide(x)
    settings = {"method": method, "seed": seed, **settings}
    original = saliency(randomized, x, question.objective, **settings)
    layers = _layers(question)
    for step, layer in enumerate(layers, 1):
        _shuffle(randomized.blocks[layer], generator)
        try:
            seen = saliency(randomized, x, question.objective, **settings)
        except SettingError:  # nothing comes back any more: that is no likeness, and no reason to end
            yield SanityRecord(step, len(layers), layer, 0.0, 0.0)
            continue
        signed = _correlation(original.attribution.sum(1), seen.attribution.sum(1))
        absolute = _correlation(original.map.abs(), seen.map.abs())
        yield SanityRecord(step, len(layers), layer, signed, absolute)
    randomized.prepared.clear()  # they know each other, and would live on for a while


def _layers(question: Question) -> list[str]:
    """The nodes with weights between input and target, last first; a shared block at the first of its uses."""
    steps = plan_backward(question.network.nodes, question.nodes, (question.input,), {}, {})
    layers: dict[int, str] = {}
    for step in steps:
        if step.block.parameters:
            layers.setdefault(id(step.block), step.name)
    if not layers:
        raise SettingError("no node between the input and the target has weights to randomize")
    return list(layers.values())


@torch.no_grad()
def _shuffle(block: Block, generator: torch.Generator) -> None:
    for name, weight in block.parameters.items():
        order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
        setattr(block, name, weight.flatten()[order].view_as(weight))


def _correlation(a: Tensor, b: Tensor) -> float:
    """The mean over the pictures of Spearman's rank correlation; 0 for what is the same everywhere."""
    correlations = []
    for rows in zip(a.flatten(1).double().cpu().numpy(), b.flatten(1).double().cpu().numpy(), strict=True):
        p, q = (ranks - ranks.mean() for ranks in map(rankdata, rows))
        scale = np.sqrt((p * p).sum() * (q * q).sum())
        correlations.append(float((p * q).sum() / scale) if scale else 0.0)
    return float(np.mean(correlations))
