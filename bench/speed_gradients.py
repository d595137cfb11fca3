"""Rows: gradients by the picture, all weights fixed, of networks of full width; and how they grow."""

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from plain_style import vgg, with_weights
from speed_row import BY_TORCH, OURS, Row, Run, Way, by_torch_kernels, input_gradient
from torch import Tensor, nn
from torch_twins import Graph, Until4c

from blockprop import Sequential, from_torch
from blockprop.blocks import Conv2d, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import Seeds
from blockprop.exporters import to_onnx
from blockprop.networks.architectures import vgg19
from blockprop.networks.shipped import shipped
from blockprop.visualize import saliency
from blockprop.visualize.tiles import Tile
from blockprop.visualize.tiling import Outputs, Tiling
from tests.architectures.googlenet import GoogLeNet
from tests.architectures.mobilenet import MobileNetV2
from tests.architectures.resnet import resnet50
from tests.architectures.squeezenet import SqueezeNet

WEIGHTS_SEED = 0
ROUGH = 2e-2
"""How far apart gradients in float32 may be, where rounding closes some ReLUs and opens others."""


class Model(NamedTuple):
    """The same network twice; the seed decides about weights."""

    module: Callable[[], nn.Module]
    network: Callable[[], Network]


def imported(build: Callable[[], nn.Module]) -> Model:
    """A module, and what from_torch makes of it."""

    def module() -> nn.Module:
        torch.manual_seed(WEIGHTS_SEED)
        made = build().eval()
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):  # statistics as after training: no two alike
                nn.init.uniform_(part.running_mean, -0.1, 0.1)
                nn.init.uniform_(part.running_var, 0.5, 1.5)
        return made

    @cache
    def network() -> Network:
        return from_torch(module(), torch.rand(1, 3, 224, 224))

    return Model(module, lambda: network().copy())


def written(build: Callable[[], Network], twin: Callable[[Network], nn.Module]) -> Model:
    """A network, and its twin in torch."""

    def network() -> Network:
        torch.manual_seed(WEIGHTS_SEED)
        return build()

    return Model(lambda: twin(network()).eval(), network)


def chain(blocks: int, channels: int = 8) -> Network:
    """Convolutions and ReLUs, one after the other, that hand on what they get nearly as it is."""
    layers: list[Any] = [Conv2d(3, channels, 1)]
    for _ in range((blocks - 1) // 2):
        layer = Conv2d(channels, channels, 3, padding=1)
        nn.init.dirac_(layer.weight).add_(torch.randn_like(layer.weight), alpha=0.01)
        layers += [layer, ReLU()]
    return Sequential(*layers)


SQUEEZENET = imported(lambda: SqueezeNet(1.0, 1000))
GOOGLENET = imported(lambda: GoogLeNet(1.0, 1000, auxiliary=False))
MODELS = {
    "SqueezeNet 1.1": SQUEEZENET,
    "GoogLeNet": GOOGLENET,
    "ResNet-50": imported(lambda: resnet50(64, 1000)),
    "MobileNetV2": imported(lambda: MobileNetV2(1.0, 1000)),
}
VGG19 = written(lambda: vgg19("relu5_1", with_conv0=False), lambda network: with_weights(vgg(network), network))
SHIPPED = written(lambda: shipped("pictures"), Graph)


class Score(NamedTuple):
    """A number S that is differentiated.   of: the output y, in torch.   ours: ∂S/∂x of pictures x, by the product."""

    of: Callable[[Tensor], Tensor]
    ours: Callable[[Network], Callable[[Tensor], Tensor]]


def explained(network: Network) -> Callable[[Tensor], Tensor]:
    return lambda x: saliency(network, x, 0).attribution


def averaged(network: Network) -> Callable[[Tensor], Tensor]:
    def gradient(x: Tensor) -> Tensor:
        lean = network.prepare()
        (node,), (name,) = network.outputs, network.inputs
        trace = lean.forward(x)
        return lean.backward(trace, torch.full_like(trace[node], 1 / trace[node][0].numel()), wrt="inputs")[name]

    return gradient


def dreamed(network: Network) -> Callable[[Tensor], Tensor]:
    tiling = Tiling(network, network.outputs)

    def seeds(_: Tile, outputs: Outputs) -> Seeds:
        return dict(outputs)

    return lambda x: tiling.gradient(x, seeds)


CLASS = Score(lambda y: y[:, 0].sum(), explained)
MEAN = Score(lambda y: y.mean() * len(y), averaged)
SQUARES = Score(lambda y: y.square().sum() / 2, dreamed)


def pictures(*shape: int) -> Callable[[torch.dtype], Tensor]:
    """Pictures of noise, the same for all."""
    return lambda dtype: torch.rand(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def ours(model: Model, gradient: Callable[[Network], Callable[[Tensor], Any]], x: Any, dtype: torch.dtype) -> Run:
    run, picture = gradient(model.network().to(dtype=dtype)), x(dtype)
    return lambda: run(picture)


def by_autograd(model: Model, score: Score, x: Any, dtype: torch.dtype, tuned: bool, compiled: bool = False) -> Run:
    """The usual few lines.   tuned: channels last in memory, and weights want no gradients."""
    module, picture = model.module().to(dtype), x(dtype)
    if tuned:
        module = module.to(memory_format=torch.channels_last).requires_grad_(False)
        picture = picture.contiguous(memory_format=torch.channels_last)
    function: Callable[[Tensor], Tensor] = torch.compile(module) if compiled else module

    def run() -> Tensor:
        leaf = picture.detach().requires_grad_()
        return torch.autograd.grad(score.of(function(leaf)), leaf)[0]

    if compiled:
        run()
    return run


def by_captum(model: Model, x: Any, dtype: torch.dtype) -> Run:
    from captum.attr import Saliency

    explainer, picture = Saliency(model.module().to(dtype)), x(dtype).requires_grad_()
    return lambda: explainer.attribute(picture, target=0, abs=False)


def by_onnxruntime(model: Model, x: Any, dtype: torch.dtype) -> Run:
    import onnxruntime

    network, picture = model.network(), x(dtype)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        to_onnx(network, path, shape=picture)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = {network.inputs[0]: picture.numpy()}
    return lambda: torch.from_numpy(session.run(None, values)[0])


FORWARD = "forward"
COMPILE = "torch.compile"


def ways(model: Model, score: Score, *shape: int) -> dict[str, Way]:
    """Ours, and all peers."""
    x = pictures(*shape)
    found = {
        OURS: Way(partial(ours, model, score.ours, x)),
        BY_TORCH: Way(by_torch_kernels(partial(ours, model, score.ours, x))),
        "autograd": Way(partial(by_autograd, model, score, x, tuned=False)),
        "tuned autograd": Way(partial(by_autograd, model, score, x, tuned=True)),
        COMPILE: Way(partial(by_autograd, model, score, x, tuned=True, compiled=True), exact=False, apart=ROUGH),
    }
    if score is CLASS:
        found["Captum"] = Way(partial(by_captum, model, x), package="captum")
    found["ours, forward alone"] = Way(partial(ours, model, lambda network: network.prepare(), x), gives=FORWARD)
    found["onnxruntime, forward alone"] = Way(
        partial(by_onnxruntime, model, x), package="onnxruntime", exact=False, gives=FORWARD, apart=1e-4
    )
    return found


def row(
    group: str,
    model: Model,
    score: Score,
    *shape: int,
    wanted: dict[str, float],
    only: tuple[str, ...] = (),
    absent: dict[str, str] | None = None,
    size: int | None = None,
    pixels: bool = True,
) -> Row:
    """A gradient of pictures of this shape.   only: ways that are tried at all.   pixels: memory is told for each."""
    found = {name: way for name, way in ways(model, score, *shape).items() if not only or name in only}
    return Row(
        group,
        found,
        lambda: input_gradient(model.network(), pictures(*shape)(torch.float32)),
        wanted=wanted,
        absent=absent or {},
        pixels=shape[0] * shape[2] * shape[3] if pixels else None,
        size=size,
    )


TUNED = "tuned autograd"
SLOWLY = {COMPILE: "compiling takes up to two minutes a network, and is done once for each"}
GRADIENTS, PIXELS, BLOCKS = "gradients", "growth with pixels", "growth with blocks"
FASTER = {
    ("SqueezeNet 1.1", 1): {"Captum": 5.0, TUNED: 3.5},
    ("SqueezeNet 1.1", 8): {"Captum": 4.0, TUNED: 2.5},
    ("GoogLeNet", 1): {"Captum": 4.5, TUNED: 3.3},
    ("ResNet-50", 1): {"Captum": 2.5, TUNED: 1.8},
    ("MobileNetV2", 1): {"Captum": 2.5, TUNED: 1.8},
}
"""Where the processor has AVX-512; with AVX2 alone 0.6 of it."""
ROWS: dict[str, Row] = {}
for name, model in MODELS.items():
    for batch, absent in ((1, {}), (8, SLOWLY)):
        wanted = {BY_TORCH: 1.0, TUNED: 1.0} | FASTER.get((name, batch), {})
        ROWS[f"{name}, batch {batch}"] = row(GRADIENTS, model, CLASS, batch, 3, 224, 224, wanted=wanted, absent=absent)
for side, absent, eager, tuned in ((256, {}, 3.3, 2.7), (512, SLOWLY, 4.0, 3.0)):
    wanted = {BY_TORCH: 1.0, "autograd": eager, TUNED: tuned}
    ROWS[f"VGG-19 to conv5_1, {side}²"] = row(GRADIENTS, VGG19, MEAN, 1, 3, side, side, wanted=wanted, absent=absent)
for batch in (1, 8):
    ROWS[f"shipped network, batch {batch}"] = row(
        GRADIENTS, SHIPPED, CLASS, batch, 3, 64, 64, wanted={BY_TORCH: 1.0, TUNED: 1.0}
    )
ROWS["DeepDream, GoogLeNet to 4c, 1024 × 683"] = row(
    GRADIENTS, imported(Until4c), SQUARES, 1, 3, 683, 1024, wanted={BY_TORCH: 1.0, "autograd": 4.0}
)
for side in (64, 256, 512, 1024, 2048):
    ROWS[f"SqueezeNet 1.1, {side}²"] = row(
        PIXELS, SQUEEZENET, CLASS, 1, 3, side, side, wanted={}, only=("ours", TUNED), size=side * side
    )
for blocks in (10, 50, 300, 2000):
    model = written(partial(chain, blocks), Graph)
    ROWS[f"{blocks} blocks"] = row(
        BLOCKS, model, MEAN, 1, 3, 32, 32, wanted={}, only=("ours", TUNED), size=blocks, pixels=False
    )
