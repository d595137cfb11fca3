"""Rows: saliency methods beside Captum's."""

from functools import partial
from typing import Any

import torch
from speed_gradients import GOOGLENET, SQUEEZENET, Model, explained, ours, pictures
from speed_row import Row, Run, Way, input_gradient

from blockprop.engine.network import Network
from blockprop.visualize import saliency

GROUP, SAMPLES, SIDE = "explanations", 50, 224
SIGMA, NEXT_TO_NOTHING = 0.15, 1e-9
STEPS_APART = 1e-6
"""Of integrated gradients: Captum's steps are numbers of float32."""
x = pictures(1, 3, SIDE, SIDE)


def method(name: str, **settings: Any) -> Any:
    """What `ours` takes: network -> (picture -> attribution)."""

    def of(network: Network) -> Any:
        return lambda picture: saliency(network, picture, 0, name, **settings).attribution

    return of


def captum_smooth_grad(model: Model, dtype: torch.dtype, sigma: float = SIGMA, at_once: int | None = None) -> Run:
    from captum.attr import NoiseTunnel, Saliency

    explainer, picture = NoiseTunnel(Saliency(model.module().to(dtype))), x(dtype)
    settings = {"nt_samples": SAMPLES, "nt_samples_batch_size": at_once, "stdevs": sigma, "target": 0, "abs": False}
    return lambda: explainer.attribute(picture, **settings)


def captum_integrated(model: Model, dtype: torch.dtype, at_once: int | None = None) -> Run:
    from captum.attr import IntegratedGradients

    explainer, picture = IntegratedGradients(model.module().to(dtype)), x(dtype)
    return lambda: explainer.attribute(
        picture, torch.zeros_like(picture), target=0, n_steps=SAMPLES, internal_batch_size=at_once
    )


def captum_guided(model: Model, dtype: torch.dtype) -> Run:
    from captum.attr import GuidedBackprop

    explainer, picture = GuidedBackprop(model.module().to(dtype)), x(dtype)
    return lambda: explainer.attribute(picture, target=0)


def rows(name: str, model: Model) -> dict[str, Row]:
    one = Way(partial(ours, model, explained, x), gives="one gradient")
    smooth = partial(ours, model, method("smooth_grad", samples=SAMPLES, sigma=SIGMA), x)
    nearly = partial(ours, model, method("smooth_grad", samples=SAMPLES, sigma=NEXT_TO_NOTHING), x)

    def smoothed(at_once: int | None) -> Way:
        make = partial(captum_smooth_grad, model, at_once=at_once)
        return Way(make, lambda dtype: make(dtype, sigma=NEXT_TO_NOTHING)(), "captum")

    def integrated(at_once: int | None) -> Way:
        return Way(partial(captum_integrated, model, at_once=at_once), package="captum", apart=STEPS_APART)

    return {
        f"SmoothGrad, {SAMPLES} samples, {name}": row(
            model,
            {
                "ours": Way(smooth, lambda dtype: nearly(dtype)()),
                "Captum": smoothed(None),
                "Captum, one at a time": smoothed(1),
                "ours, one gradient": one,
            },
        ),
        f"integrated gradients, {SAMPLES} steps, {name}": row(
            model,
            {
                "ours": Way(partial(ours, model, method("integrated_gradients", steps=SAMPLES), x)),
                "Captum": integrated(None),
                "Captum, one at a time": integrated(1),
                "ours, one gradient": one,
            },
        ),
    }


def row(model: Model, ways: dict[str, Way], gradients: int = SAMPLES) -> Row:
    def work() -> Any:
        return input_gradient(model.network(), x(torch.float32), gradients)

    return Row(GROUP, ways, work, wanted={"Captum": 1.0}, pixels=SIDE * SIDE)


ROWS = {
    **rows("SqueezeNet 1.1", SQUEEZENET),
    **rows("GoogLeNet", GOOGLENET),
    "guided back-propagation, SqueezeNet 1.1": row(
        SQUEEZENET,
        {
            "ours": Way(partial(ours, SQUEEZENET, method("guided"), x)),
            "Captum": Way(partial(captum_guided, SQUEEZENET), package="captum"),
        },
        1,
    ),
}
