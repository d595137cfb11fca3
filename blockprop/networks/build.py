"""Networks by a short text: `mlp:128,64`, `lenet`, `stages:32,64`, `lecture`, a Python file's function, a saved one."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from blockprop.blocks import (
    Add,
    Affine,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    GlobalAvgPool,
    Linear,
    MaxPool2d,
    ReLU,
)
from blockprop.engine.about import About
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, SettingError, did_you_mean
from blockprop.networks.lecture import UNITS, lecture
from blockprop.networks.python_files import call_in, line_of, run_file
from blockprop.networks.shipped import is_shipped, shipped
from blockprop.saving import storage

HIDDEN = (128, 64)
"""Widths of a plain `mlp`."""
STAGES = (32, 64, 128, 192)
"""Channels of plain `stages`."""
MOST_UNITS = 1_000_000
WIDEST = 256
"""Channels of `cnn` at most."""


def build_network(
    spec: str | os.PathLike[str],
    shape: int | Sequence[int],
    outputs: int,
    seed: int = 0,
    blocks: Mapping[str, type[Block]] | None = None,
    opaque: bool = False,
) -> Network:
    """A network for examples of this shape with this many outputs.

    spec: "mlp:128,64" (hidden widths; plain "mlp" has 128 and 64), "lenet", "cnn", "stages:32,64,128" (the channels of
        each), "lecture:tanh" (see `lecture`), "my_net.py:build" (a function that takes (shape, outputs)
        and returns a Network), a saved one's path, or "pictures" or "digits", which come with the package.
    shape: one example's, (features,) or (channels, height, width).
    seed: of the first weights; the global random numbers are left alone.
    blocks, opaque: of a saved network, as `load` takes them.
    Raises SettingError for a spec that cannot be understood, or a network that does not fit shape and outputs.
    """
    spec, shape = os.fspath(spec), (shape,) if isinstance(shape, int) else tuple(shape)
    if outputs < 1 or not shape or min(shape) < 1:
        raise SettingError(f"expected a shape of positive sizes and at least one output, got {shape} and {outputs}")
    name, _, detail = spec.partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if name in BUILDERS:
            network = BUILDERS[name](shape, outputs, detail)
        elif name.endswith(".py") or ".py:" in spec:
            network = _from_file(spec, shape, outputs)
        elif is_shipped(spec):
            network = shipped(spec)
        elif Path(spec).exists():
            network = storage.load(spec, blocks, opaque)
        else:
            raise SettingError(
                f"{spec!r} is neither a network's name nor a file; expected mlp:128,64, lenet, cnn, stages:32,64, "
                f"lecture, my_net.py:build, or the path of a saved network{did_you_mean(name, BUILDERS)}"
            )
    require_fit(network, spec, shape, outputs)
    network.meta = About(spec=Path(spec).name) | network.meta | About(shape=list(shape))
    return network


def _mlp(shape: tuple[int, ...], outputs: int, detail: str) -> Network:
    """Linear layers with ReLU between them."""
    widths = _widths("mlp", detail) if detail else HIDDEN
    blocks: dict[str, Block] = {"flatten": Flatten()} if len(shape) > 1 else {}
    features = math.prod(shape)
    for i, width in enumerate(widths, 1):
        blocks |= {f"fc{i}": Linear(features, width), f"relu{i}": ReLU()}
        features = width
    return Sequential(blocks | {f"fc{len(widths) + 1}": Linear(features, outputs)})


def _widths(name: str, detail: str) -> Sequence[int]:
    try:
        widths = [int(text) for text in detail.split(",")]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1 or max(widths) > MOST_UNITS:
        raise SettingError(f"expected widths such as {name}:128,64 (each 1 to {MOST_UNITS}), got '{name}:{detail}'")
    return widths


def _lenet(shape: tuple[int, ...], outputs: int, detail: str) -> Network:
    """LeNet-5 (LeCun et al. 1998, section II.B), with ReLU and max pooling for its sigmoids and averages."""
    channels, height, width = _picture("lenet", shape, detail, smallest=16)
    features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    return Sequential(
        {"conv1": Conv2d(channels, 6, 5, padding=2), "relu1": ReLU(), "pool1": MaxPool2d(2)},
        {"conv2": Conv2d(6, 16, 5), "relu2": ReLU(), "pool2": MaxPool2d(2)},
        {"flatten": Flatten(), "fc1": Linear(features, 120), "relu3": ReLU()},
        {"fc2": Linear(120, 84), "relu4": ReLU(), "fc3": Linear(84, outputs)},
    )


def _cnn(shape: tuple[int, ...], outputs: int, detail: str) -> Network:
    """Convolution, batch normalization, ReLU; halved by max pooling until 7 x 7 or less is left, then one Linear.

    One convolution at full size and two at each smaller one: most of the time goes into the large pictures.
    """
    channels, height, width = _picture("cnn", shape, detail, smallest=8)
    blocks: dict[str, Block] = {}
    large = min(height, width) >= 96
    _add_unit(blocks, channels, 32, stride=2 if large else 1)
    if large:
        height, width = (height + 1) // 2, (width + 1) // 2
    channels = 32
    while True:
        blocks[f"pool{_count(blocks, MaxPool2d) + 1}"] = MaxPool2d(2)
        height, width, wider = height // 2, width // 2, min(2 * channels, WIDEST)
        _add_unit(blocks, channels, wider)
        channels = wider
        if min(height, width) < 8:
            break
        _add_unit(blocks, channels, channels)
    features = channels * height * width
    if features > 8192:
        blocks["pool"], features = GlobalAvgPool(), channels
    else:
        blocks["flatten"] = Flatten()
    return Sequential(blocks | {"dropout": Dropout(0.3), "fc": Linear(features, outputs)})


def _stages(shape: tuple[int, ...], outputs: int, detail: str) -> Network:
    """Stages of two convolutions whose outputs add up, halved by max pooling in between; for pictures of any size.

    The last stage has one convolution, and what it finds is averaged over all places (residuals: He et al. 2015). All
    strides are 1, so that pictures made by going back to the input have no checkerboard.
    """
    widths = _widths("stages", detail) if detail else STAGES
    channels, _, _ = _picture("stages", shape, "", smallest=2 ** (len(widths) - 1))
    nodes = [Node("scale", Affine(4.0, -2.0), ("input",))]

    def add(name: str, block: Block, *inputs: str) -> None:
        nodes.append(Node(name, block, inputs or (nodes[-1].name,)))

    def add_unit(name: str, relu: str, width: int) -> None:
        nonlocal channels
        add(f"conv{name}", Conv2d(channels, width, 3, padding=1, with_bias=False))
        add(f"batchnorm{name}", BatchNorm2d(width))
        add(relu, ReLU())
        channels = width

    for i, width in enumerate(widths[:-1], 1):
        add_unit(f"{i}_1", f"relu{i}_1", width)
        add_unit(f"{i}_2", f"relu{i}_2", width)
        add(f"stage{i}", Add(), f"relu{i}_1", f"relu{i}_2")
        add(f"pool{i}", MaxPool2d(2))
    add_unit(str(len(widths)), f"stage{len(widths)}", widths[-1])
    add("average", GlobalAvgPool())
    add("fc", Linear(channels, outputs))
    return Network(nodes, ("input",), ("fc",))


def _lecture(shape: tuple[int, ...], outputs: int, detail: str) -> Network:
    """The network of the lecture, which has weights of its own."""
    if (*shape, outputs) != (UNITS[0], UNITS[-1]):
        raise SettingError(
            f"the lecture's network takes examples of {UNITS[0]} numbers and gives {UNITS[-1]}, "
            f"not {shape} and {outputs}; mlp takes any"
        )
    return (lecture(detail) if detail else lecture()).to(dtype=torch.float32)


def _add_unit(blocks: dict[str, Block], channels_in: int, channels_out: int, stride: int = 1) -> None:
    i = _count(blocks, Conv2d) + 1
    blocks[f"conv{i}"] = Conv2d(channels_in, channels_out, 3, stride, padding=1, with_bias=False)
    blocks[f"batchnorm{i}"] = BatchNorm2d(channels_out)
    blocks[f"relu{i}"] = ReLU()


def _count(blocks: dict[str, Block], kind: type[Block]) -> int:
    return sum(isinstance(block, kind) for block in blocks.values())


def _picture(name: str, shape: tuple[int, ...], detail: str, smallest: int) -> tuple[int, int, int]:
    if detail:
        raise SettingError(f"{name} takes no settings, got '{name}:{detail}'")
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise SettingError(
            f"{name} takes pictures (channels, height, width) from {smallest} x {smallest} up, got {shape}; "
            "mlp takes any shape"
        )
    return shape[0], shape[1], shape[2]


BUILDERS: dict[str, Callable[[tuple[int, ...], int, str], Network]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "cnn": _cnn,
    "stages": _stages,
    "lecture": _lecture,
}


def _from_file(spec: str, shape: tuple[int, ...], outputs: int) -> Network:
    network = call_in(spec, "build", shape, outputs)
    if not isinstance(network, Network):
        raise SettingError(f"{spec}: expected the function to return a Network, it returned a {type(network).__name__}")
    return network


def blocks_in(file: str | os.PathLike[str]) -> dict[str, type[Block]]:
    """The classes of blocks that a Python file defines, by name. Runs the file; SettingError if it has none."""
    path = Path(file).absolute()
    if not path.is_file():
        raise SettingError(f"the file {file} does not exist")
    try:
        names = vars(run_file(path))
    except (Exception, SystemExit) as error:
        raise SettingError(f"{file}, line {line_of(error, path)}: {type(error).__name__}: {error}") from error
    kinds = {
        name: kind
        for name, kind in names.items()
        if isinstance(kind, type) and issubclass(kind, Block) and not kind.__module__.startswith("blockprop.")
    }
    if not kinds:
        raise SettingError(f"{file} defines no block, that is, no class made from blockprop.Block")
    return kinds


def looks_up(network: Network) -> bool:
    """Whether its input holds whole numbers: those of rows in a table."""
    return any(isinstance(node.block, Embedding) and set(network.inputs) & set(node.inputs) for node in network.nodes)


def require_fit(network: Network, spec: str, shape: tuple[int, ...], outputs: int) -> None:
    """Runs one example of zeros, and wants one row of outputs."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        ends = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        raise SettingError(f"{spec}: expected a network with one input and one output, this one has {ends}")
    weight = next((tensor for tensor in network.state.values() if tensor.is_floating_point()), torch.empty(0))
    try:
        dtype = torch.int64 if looks_up(network) else weight.dtype
        y = network(torch.zeros(1, *shape, dtype=dtype, device=weight.device))
    except BlockpropError as error:
        raise SettingError(f"{spec}: the network cannot take examples of shape {shape} ({error})") from error
    except Exception as error:  # whatever the user's blocks raise
        file = Path(spec.rpartition(":")[0] if ".py:" in spec else spec).absolute()
        line = f", line {line_of(error, file)}" if line_of(error, file) else ""
        reason = f"{file.name}{line}: {type(error).__name__}: {error}"
        raise SettingError(f"{spec}: the network cannot take examples of shape {shape} ({reason})") from error
    if tuple(y.shape) != (1, outputs):
        raise SettingError(
            f"{spec}: expected {outputs} outputs for each example, the network gives {tuple(y.shape[1:])}"
        )
