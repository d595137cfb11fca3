"""What an entry of the tables is made of, and how a module gets random weights that make a meaningful test."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

PICTURE = ("batch", "channels", "height", "width")
TOKENS = ("batch", "length")

Build = Callable[[], nn.Module]
Inputs = Callable[[torch.Generator], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Architecture:
    """make() -> the module in eval mode, the same each time; inputs(generator) -> its inputs, a batch of two.

    free: which of "batch", "height", "width" and "length" may differ from those of inputs.
    size: (height, width) of the picture that inputs gives; None if it gives none.
    axes: the names of the axes, for each input.
    """

    make: Callable[[], nn.Module]
    inputs: Inputs
    free: tuple[str, ...] = ("batch",)
    size: tuple[int, int] | None = None
    axes: tuple[tuple[str, ...], ...] = (PICTURE,)


def pictures(
    build: Build, *size: int, free: str = "batch height width", channels: int = 3, scale: float = 1.0
) -> Architecture:
    """An architecture that looks at pictures of (height, width) = size, normally distributed with deviation scale."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (scale * torch.randn(2, channels, *size, generator=generator),)

    return Architecture(partial(settled, build, inputs), inputs, tuple(free.split()), (size[0], size[1]))


def tokens(
    build: Build,
    length: int,
    vocabulary: int,
    free: str = "batch length",
    axes: tuple[str, ...] = TOKENS,
    inputs: Inputs | None = None,
) -> Architecture:
    """An architecture that reads numbers of words, 1…vocabulary - 1 (inputs: other ones)."""
    shape = tuple({"batch": 2, "length": length}[axis] for axis in axes)

    def drawn(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.randint(1, vocabulary, shape, generator=generator),)

    inputs = inputs or drawn
    return Architecture(partial(settled, build, inputs), inputs, tuple(free.split()), None, (axes,))


def other(
    build: Build, *shapes: tuple[int, ...], axes: Sequence[str] = ("batch",), free: str = "batch"
) -> Architecture:
    """An architecture with several inputs, or inputs of another kind; axes: names, one text for each input."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    named = tuple(tuple(text.split()) for text in axes)
    return Architecture(partial(settled, build, inputs), inputs, tuple(free.split()), None, named)


def resized(architecture: Architecture, inputs: tuple[Tensor, ...], sizes: dict[str, int]) -> tuple[Tensor, ...]:
    """The inputs cut, or repeated, to other sizes along the axes named in sizes."""
    for name, count in sizes.items():
        inputs = tuple(
            x.index_select(names.index(name), torch.arange(count) % x.shape[names.index(name)]) if name in names else x
            for x, names in zip(inputs, architecture.axes, strict=True)
        )
    return inputs


def thin(channels: int, width: float) -> int:
    """The paper's number of channels, times width."""
    return max(1, round(channels * width))


def settled(build: Build, inputs: Inputs) -> nn.Module:
    """The module in eval mode with nothing left at 0 or 1 and outputs of a moderate size; the same each time.

    Batch norms hold what they would have learned from inputs of this kind, moved at random by some tenths.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        module = build().eval()
        for part in module.modules():
            _scatter(part)
        norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if norms:
            hooks = [norm.register_forward_pre_hook(_learn_statistics) for norm in norms]
            generator = torch.Generator().manual_seed(0)
            module(*(torch.cat(draws) for draws in zip(*(inputs(generator) for _ in range(8)), strict=True)))
            for hook in hooks:
                hook.remove()
    return module


def _scatter(part: nn.Module) -> None:
    """He et al. 2015 for weights; random numbers for all that starts as a constant."""
    for name, tensor in part.named_parameters(recurse=False):
        if name == "weight" and isinstance(part, nn.Linear | nn.modules.conv._ConvNd):
            tensor.normal_(0, math.sqrt(2 / _fan_in(part)))
        elif name == "bias":
            tensor.normal_(0, 0.1)
        elif tensor.numel() > 1 and bool((tensor == 1).all()):
            tensor.uniform_(0.5, 1.5)
        elif tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
            tensor.normal_(0, 0.3)


def _fan_in(part: nn.Module) -> float:
    """How many products a value of the output sums."""
    weight = part.weight
    if isinstance(part, nn.modules.conv._ConvTransposeNd):
        return weight[:, 0].numel() / part.groups / math.prod(part.stride)
    return weight[0].numel()


def _learn_statistics(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Statistics of this input; half the variance is that of all channels, so that a constant channel does no harm."""
    channels = args[0].transpose(0, 1).flatten(1).float()
    mean, variance = channels.mean(1), channels.var(1, correction=0)
    variance = 0.5 * variance + 0.5 * variance.mean() + 0.01
    norm.running_mean.copy_(mean + 0.2 * variance.sqrt() * torch.randn_like(mean))
    norm.running_var.copy_(variance * (0.6 + 0.8 * torch.rand_like(variance)))
