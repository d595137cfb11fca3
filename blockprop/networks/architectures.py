"""Published networks by name, their nodes named as the layers of the published weight files.

So "conv1.weight" is the parameter "weight" of the node "conv1", in the network as in the file; `weights.pretrained`
puts the two together. Every network has one input "x", and a classifier ends with its scores (a softmax is no part of
it); batch, height and width are free. The ReLU after the layer NAME is "relu_NAME", but for VGG and ResNet, where it
has a name of its own that everybody uses.
"""

from collections.abc import Callable
from typing import Any

from blockprop.blocks import (
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Pad,
    ReLU,
    Resize,
    Slice,
)
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import SettingError, suggestion

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of each inception block of GoogLeNet: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""
VGG19_DEPTHS = (2, 2, 4, 4, 4)
VGG19_WIDTHS = (1, 2, 4, 8, 8)
"""Convolutions in each stage of VGG-19, and their channels as multiples of the first stage's."""


class _Chain:
    """Nodes in the making: each takes the output of the one before, unless it is told what to take."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.last = "x"

    def add(self, name: str, block: Block, *inputs: str) -> str:
        self.nodes.append(Node(name, block, inputs or (self.last,)))
        self.last = name
        return name

    def convolve(
        self, name: str, channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> str:
        """A convolution and its ReLU."""
        self.add(name, Conv2d(channels_in, channels_out, kernel, stride, padding))
        return self.add(f"relu_{name}", ReLU())

    def cut(self, until: str) -> None:
        """Forget what comes after this node."""
        names = [node.name for node in self.nodes]
        if until not in names:
            raise SettingError(f"there is no layer {until!r}{suggestion(until, names)}")
        del self.nodes[names.index(until) + 1 :]

    def network(self, architecture: str) -> Network:
        return Network(self.nodes, meta={"architecture": architecture, "free": {"x": [0, 2, 3]}})


def squeezenet1_1() -> Network:
    """SqueezeNet 1.1: x (n, 3, h, w) of at least 25 x 25 → scores (n, 1000).

    The output of each fire module is its concatenation "fire2" … "fire9". The scores are averages of what a ReLU gave,
    so none is negative.
    Source: Iandola et al. 2016, table 1, in the version 1.1 of its authors' repository.
    """
    chain = _Chain()
    chain.convolve("conv1", 3, 64, 3, stride=2)
    channels = 64
    for i in range(2, 10):
        if i in (2, 4, 6):
            chain.add(f"pool{i - 1}", MaxPool2d(3, 2, ceil_mode=True))
        channels = _fire(chain, f"fire{i}", channels, 16 * (i // 2))
    chain.add("dropout", Dropout(0.5))
    chain.convolve("conv10", channels, 1000, 1)
    chain.add("pool10", GlobalAvgPool())
    return chain.network("squeezenet1_1")


def _fire(chain: _Chain, name: str, channels: int, squeezed: int) -> int:
    """Few channels, then many again, half of them with a view of their neighbors; gives their number."""
    few = chain.convolve(f"{name}.squeeze1x1", channels, squeezed, 1)
    small = chain.convolve(f"{name}.expand1x1", squeezed, 4 * squeezed, 1)
    chain.last = few
    large = chain.convolve(f"{name}.expand3x3", squeezed, 4 * squeezed, 3, padding=1)
    chain.add(name, Concat(), small, large)
    return 8 * squeezed


def googlenet() -> Network:
    """GoogLeNet (Inception v1) as trained by BVLC: x (n, 3, h, w) of at least 47 x 47 → scores (n, 1000).

    The output of each inception block is its concatenation "inception_3a" … "inception_5b". The two auxiliary
    classifiers, which training alone needs, are left out.
    Source: Szegedy et al. 2014, table 1; Caffe's bvlc_googlenet, with "/" in its layers' names as "_".
    """
    chain = _Chain()
    chain.convolve("conv1_7x7_s2", 3, 64, 7, stride=2, padding=3)
    chain.add("pool1_3x3_s2", MaxPool2d(3, 2, ceil_mode=True))
    chain.add("pool1_norm1", LocalResponseNorm(5, alpha=1e-4, beta=0.75))
    chain.convolve("conv2_3x3_reduce", 64, 64, 1)
    chain.convolve("conv2_3x3", 64, 192, 3, padding=1)
    chain.add("conv2_norm2", LocalResponseNorm(5, alpha=1e-4, beta=0.75))
    chain.add("pool2_3x3_s2", MaxPool2d(3, 2, ceil_mode=True))
    channels = 192
    for name, widths in INCEPTIONS.items():
        if name in ("4a", "5a"):
            chain.add(f"pool{int(name[0]) - 1}_3x3_s2", MaxPool2d(3, 2, ceil_mode=True))
        channels = _inception(chain, f"inception_{name}", channels, *widths)
    chain.add("pool5", GlobalAvgPool())
    chain.add("dropout", Dropout(0.4))
    chain.add("loss3_classifier", Linear(channels, 1000))
    return chain.network("googlenet")


def _inception(
    chain: _Chain, name: str, channels: int, one: int, few3: int, three: int, few5: int, five: int, pooled: int
) -> int:
    """Four views of the same input, side by side; gives the number of their channels."""
    x = chain.last
    branches = [chain.convolve(f"{name}_1x1", channels, one, 1)]
    for size, few, many in ((3, few3, three), (5, few5, five)):
        chain.last = x
        chain.convolve(f"{name}_{size}x{size}_reduce", channels, few, 1)
        branches.append(chain.convolve(f"{name}_{size}x{size}", few, many, size, padding=size // 2))
    chain.add(f"{name}_pool", MaxPool2d(3, 1, padding=1), x)
    branches.append(chain.convolve(f"{name}_pool_proj", channels, pooled, 1))
    chain.add(name, Concat(), *branches)
    return one + three + five + pooled


def vgg19(until: str = "pool5", width: int = 64, padding: str = "reflect", with_conv0: bool = True) -> Network:
    """The convolutions of VGG-19, or the first of them: x (n, 3, h, w) → the output of the node `until`.

    Nodes: conv0, then conv1_1, relu1_1, conv1_2, relu1_2, pool1, conv2_1, … conv5_4, relu5_4, pool5; with reflection a
    "pad1_1" in front of each convolution. The usual style layers are relu1_1 … relu5_1.
    width: channels of the first stage; 64 as published, 16 in the networks distilled from it.
    padding: "reflect", as in the normalized and distilled networks for style transfer, or "zeros", as published.
    with_conv0: whether "conv0", a 1x1 convolution, makes the network's own colors out of RGB from 0 to 1.
    Raises SettingError for an unknown layer or padding.
    Source: Simonyan and Zisserman 2014, table 1, column E.
    """
    chain = _Chain()
    if with_conv0:
        chain.add("conv0", Conv2d(3, 3, 1))
    for stage, depth in enumerate(VGG19_DEPTHS, 1):
        for i in range(1, depth + 1):
            _vgg_convolution(chain, f"{stage}_{i}", *_vgg_channels(stage, i, width), padding)
            chain.add(f"relu{stage}_{i}", ReLU())
        chain.add(f"pool{stage}", MaxPool2d(2))
    chain.cut(until)
    return chain.network("vgg19")


def vgg19_decoder(start: str = "conv5_1", width: int = 64, padding: str = "reflect") -> Network:
    """VGG-19 backward, to be trained as its inverse: the output of VGG's relu3_1 (or so) → a picture (n, 3, h, w).

    Nodes: start = conv3_1, relu3_1, upsample2, conv2_2, relu2_2, … conv1_1; convN_M has the channels of VGG's own
    convN_M, exchanged. Upsampling doubles each pixel; there is no ReLU after the last convolution.
    width, padding: as in vgg19. Raises SettingError for an unknown convolution or padding.
    """
    chain = _Chain()
    layers = [f"{stage}_{i}" for stage, depth in enumerate(VGG19_DEPTHS, 1) for i in range(1, depth + 1)]
    names = [f"conv{layer}" for layer in layers]
    if start not in names:
        raise SettingError(f"there is no convolution {start!r}{suggestion(start, names)}")
    for layer in reversed(layers[: names.index(start) + 1]):
        stage, i = int(layer[0]), int(layer[2])
        channels_out, channels_in = _vgg_channels(stage, i, width)
        _vgg_convolution(chain, layer, channels_in, channels_out, padding)
        if layer != "1_1":
            chain.add(f"relu{layer}", ReLU())
        if i == 1 and stage > 1:
            chain.add(f"upsample{stage - 1}", Resize(scale=2))
    return chain.network("vgg19_decoder")


def _vgg_channels(stage: int, i: int, width: int) -> tuple[int, int]:
    """(in, out) of the convolution i of a stage, both counted from 1."""
    channels = width * VGG19_WIDTHS[stage - 1]
    if i > 1:
        return channels, channels
    return (width * VGG19_WIDTHS[stage - 2] if stage > 1 else 3), channels


def _vgg_convolution(chain: _Chain, layer: str, channels_in: int, channels_out: int, padding: str) -> None:
    if padding not in ("reflect", "zeros"):
        raise SettingError(f"padding must be 'reflect' or 'zeros', came {padding!r}")
    if padding == "reflect":
        chain.add(f"pad{layer}", Pad((1, 1, 1, 1), mode="reflect"))
    chain.add(f"conv{layer}", Conv2d(channels_in, channels_out, 3, padding=0 if padding == "reflect" else 1))


def resnet20_cifar10() -> Network:
    """ResNet-20 for CIFAR-10: x (n, 3, 32, 32), or larger → scores (n, 10).

    The output of each residual unit is its last ReLU, "layer1.0.relu2" … "layer3.2.relu2". Where a unit halves the
    picture and doubles the channels, its shortcut has no weights: it takes every second pixel, and zeros for the new
    channels, half of them before the old ones and half after (option A).
    Source: He et al. 2015, section 4.2. Departure, with the published weights: the zeros on both sides.
    """
    chain = _Chain()
    chain.add("conv1", Conv2d(3, 16, 3, padding=1, with_bias=False))
    chain.add("bn1", BatchNorm2d(16))
    chain.add("relu1", ReLU())
    channels = 16
    for stage in (1, 2, 3):
        for i in range(3):
            channels = _residual(chain, f"layer{stage}.{i}", channels, halves=stage > 1 and i == 0)
    chain.add("pool", GlobalAvgPool())
    chain.add("linear", Linear(channels, 10))
    return chain.network("resnet20_cifar10")


def _residual(chain: _Chain, name: str, channels: int, halves: bool) -> int:
    """x + two convolutions of x, then a ReLU; gives the number of channels."""
    x, stride, wider = chain.last, 1 + halves, channels * (1 + halves)
    chain.add(f"{name}.conv1", Conv2d(channels, wider, 3, stride, padding=1, with_bias=False))
    chain.add(f"{name}.bn1", BatchNorm2d(wider))
    chain.add(f"{name}.relu1", ReLU())
    chain.add(f"{name}.conv2", Conv2d(wider, wider, 3, padding=1, with_bias=False))
    changed = chain.add(f"{name}.bn2", BatchNorm2d(wider))
    if halves:
        chain.add(f"{name}.shortcut.rows", Slice(2, step=2), x)
        chain.add(f"{name}.shortcut.columns", Slice(3, step=2))
        x = chain.add(f"{name}.shortcut", Pad((0, 0, 0, 0, channels // 2, channels // 2)))
    chain.add(f"{name}.sum", Add(), changed, x)
    chain.add(f"{name}.relu2", ReLU())
    return wider


ARCHITECTURES: dict[str, Callable[..., Network]] = {
    "googlenet": googlenet,
    "resnet20_cifar10": resnet20_cifar10,
    "squeezenet1_1": squeezenet1_1,
    "vgg19": vgg19,
    "vgg19_decoder": vgg19_decoder,
}
"""What `pretrained` can build, by name."""

_CAFFE = {"range": 255.0, "mean": (104.0, 117.0, 123.0), "scale": (1.0, 1.0, 1.0), "channels": "BGR"}

PREPROCESSING: dict[str, dict[str, Any]] = {
    "googlenet": {"size": (224, 224), "shorter_side": 256, **_CAFFE},
    "resnet20_cifar10": {
        "size": (32, 32),
        "shorter_side": 32,
        "range": 1.0,
        "mean": (0.485, 0.456, 0.406),
        "scale": (0.229, 0.224, 0.225),
        "channels": "RGB",
    },
    "squeezenet1_1": {"size": (227, 227), "shorter_side": 256, **_CAFFE},
    "vgg19": {
        "size": None,
        "shorter_side": None,
        "range": 1.0,
        "mean": (0.0, 0.0, 0.0),
        "scale": (1.0, 1.0, 1.0),
        "channels": "RGB",
    },
}
"""What the published weights want to see of a picture, an RGB one from 0 to 1: its shorter side scaled to shorter_side,
the middle of it cut out in size = (height, width), and then (range · picture − mean) / scale, with channels, mean and
scale in the network's own order. For vgg19 with conv0."""
