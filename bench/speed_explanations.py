"""Rows: saliency methods beside Captum's."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from speed_gradients import GOOGLENET, SQUEEZENET, Model, explained, ours, pictures
from speed_row import Row, Run, Way, Work, input_gradient
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.visualize import saliency

GROUP, SAMPLES, SIDE = "explanations", 50, 224
FEW = 5
"""Samples for the guard."""
SIGMA, NEXT_TO_NOTHING = 0.15, 1e-9
STEPS_APART = 1e-6
"""Of integrated gradients: Captum's steps are numbers of float32."""
x = pictures(1, 3, SIDE, SIDE)


def by_blockprop(model: Model, dtype: torch.dtype, method: str, **settings: Any) -> Run:
    def explain(network: Network) -> Callable[[Tensor], Tensor]:
        return lambda picture: saliency(network, picture, 0, method, **settings).attribution

    return ours(model, explain, x, dtype)


def smooth(model: Model, dtype: torch.dtype, samples: int = SAMPLES, sigma: float = SIGMA) -> Run:
    return by_blockprop(model, dtype, "smooth_grad", samples=samples, sigma=sigma)


def integrated(model: Model, dtype: torch.dtype, samples: int = SAMPLES) -> Run:
    return by_blockprop(model, dtype, "integrated_gradients", steps=samples)


def captum_smooth(
    model: Model, dtype: torch.dtype, samples: int = SAMPLES, sigma: float = SIGMA, at_once: int | None = None
) -> Run:
    from captum.attr import NoiseTunnel, Saliency

    explainer, picture = NoiseTunnel(Saliency(model.module().to(dtype))), x(dtype)
    settings = {"nt_samples": samples, "nt_samples_batch_size": at_once, "stdevs": sigma, "target": 0, "abs": False}
    return lambda: explainer.attribute(picture, **settings)


def captum_integrated(model: Model, dtype: torch.dtype, samples: int = SAMPLES, at_once: int | None = None) -> Run:
    from captum.attr import IntegratedGradients

    explainer, picture = IntegratedGradients(model.module().to(dtype)), x(dtype)
    settings = {"baselines": torch.zeros_like(picture), "n_steps": samples, "internal_batch_size": at_once}
    return lambda: explainer.attribute(picture, target=0, **settings)


def captum_guided(model: Model, dtype: torch.dtype) -> Run:
    from captum.attr import GuidedBackprop

    explainer, picture = GuidedBackprop(model.module().to(dtype)), x(dtype)
    return lambda: explainer.attribute(picture, target=0)


def way(make: Callable[..., Run], **few: Any) -> Way:
    """few: settings for the guard."""
    return Way(make, lambda dtype: make(dtype, samples=FEW, **few)())


def row(model: Model, ways: dict[str, Way], gradients: int) -> Row:
    def work() -> Work:
        return input_gradient(model.network(), x(torch.float32), gradients)

    return Row(GROUP, ways, work, wanted={"Captum": 1.0}, pixels=SIDE * SIDE)


def many(model: Model, own: Way, captum: Way, by_one: Way) -> Row:
    one = Way(partial(ours, model, explained, x), gives="one gradient")
    ways = {"ours": own, "Captum": captum, "Captum, one at a time": by_one, "ours, one gradient": one}
    return row(model, ways, SAMPLES)


ROWS: dict[str, Row] = {}
for name, model in {"SqueezeNet 1.1": SQUEEZENET, "GoogLeNet": GOOGLENET}.items():
    ROWS[f"SmoothGrad, {SAMPLES} samples, {name}"] = many(
        model,
        way(partial(smooth, model), sigma=NEXT_TO_NOTHING),
        *(
            way(partial(captum_smooth, model, at_once=count), sigma=NEXT_TO_NOTHING)._replace(package="captum")
            for count in (None, 1)
        ),
    )
    ROWS[f"integrated gradients, {SAMPLES} steps, {name}"] = many(
        model,
        way(partial(integrated, model)),
        *(
            way(partial(captum_integrated, model, at_once=count))._replace(package="captum", apart=STEPS_APART)
            for count in (None, 1)
        ),
    )
ROWS["guided back-propagation, SqueezeNet 1.1"] = row(
    SQUEEZENET,
    {
        "ours": Way(partial(by_blockprop, SQUEEZENET, method="guided")),
        "Captum": Way(partial(captum_guided, SQUEEZENET), package="captum"),
    },
    1,
)
