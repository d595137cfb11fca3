"""Published weights: put the tensors of a safetensors file into a network by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.errors import FormatError, SettingError, shape, suggestion
from blockprop.networks.architectures import ARCHITECTURES, PREPROCESSING
from blockprop.saving.files import StrPath, naming

RENAMED = {"running_var": "running_variance"}
"""torch's names of tensors, where ours differ."""
IGNORED = "num_batches_tracked"
SHOWN = 3
"""Tensors of each kind that an error names."""

TensorShapes = dict[str, tuple[int, ...]]


def pretrained(name: str, weights: StrPath, **settings: Any) -> Network:
    """A published network with its weights: pretrained("vgg19", path, until="relu3_1").

    name: one of architectures.ARCHITECTURES.
    weights: a safetensors file with tensors named as the layers. It may hold several networks under prefixes
        ("encoder.", "decoder.").
    settings: of the architecture; what is not given (the width and depth of a VGG) is read off the file's tensors.
        With settings, the file may hold layers that the network then lacks.
    The network's meta holds "architecture" and, if known, "preprocessing" and "shape".
    Raises SettingError for an unknown name or setting, FormatError if the file does not fit.
    """
    if name not in ARCHITECTURES:
        raise SettingError(f"there is no architecture {name!r}{suggestion(name, ARCHITECTURES)}")
    with _opened(weights) as file:
        shapes = _shapes(file)
    prefix = PREFIXES.get(name, "")
    prefix = prefix if any(title.startswith(prefix) for title in shapes) else ""
    sizes = {title.removeprefix(prefix): size for title, size in shapes.items() if title.startswith(prefix)}
    with naming(Path(weights)):
        read_off = SETTINGS_FROM_FILE[name](sizes) if name in SETTINGS_FROM_FILE else {}
    try:
        with torch.device("meta"):  # first weights would be drawn for nothing
            network = ARCHITECTURES[name](**read_off | settings)
    except TypeError as error:
        raise SettingError(f"{name}: {error}") from None
    load_weights(network, weights, prefix, allow_extra=bool(settings))
    _describe(network, name)
    return network


def load_weights(network: Network, path: StrPath, prefix: str = "", *, allow_extra: bool = False) -> None:
    """Put a file's tensors into the network's parameters and buffers of the same names, in the network's own dtype.

    path: a safetensors file. "running_var" is read as running_variance; "num_batches_tracked" is ignored.
    prefix: what the names in the file have in front; tensors without it are somebody else's.
    allow_extra: whether the file may hold tensors with this prefix that the network lacks.
    Raises FormatError that lists what is missing, extra, or of another shape; then the network is unchanged.
    """
    state = network.state
    with _opened(path) as file:
        shapes = _shapes(file)
        titles = {_own_name(title.removeprefix(prefix)): title for title in shapes if title.startswith(prefix)}
        problems = _problems(state, {name: shapes[title] for name, title in titles.items()}, allow_extra)
        if problems:
            raise FormatError(f"{path} does not fit the network: {'; '.join(problems)}{_hint(state, shapes, prefix)}")
        tensors = {name: file.get_tensor(titles[name]) for name in state}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() != state[name].is_floating_point():
            raise FormatError(f"{path}: {titles[name]} holds {tensor.dtype}; the network takes {state[name].dtype}")
    for name, block in network.unique_blocks.items():
        for key, tensor in (block.parameters | block.buffers).items():
            if tensor.is_meta:  # copied, because a tensor that lives in a mapped file changes or crashes with the file
                setattr(block, key, tensors[f"{name}.{key}"].to(dtype=tensor.dtype, copy=True))
            else:
                tensor.copy_(tensors[f"{name}.{key}"])


@contextmanager
def _opened(path: StrPath) -> Iterator[Any]:
    source = Path(path)
    if not source.is_file():
        raise FormatError(f"{path} is not a file; expected a safetensors file with published weights")
    try:
        file = safetensors.safe_open(source, framework="pt")
    except Exception as error:  # whatever a damaged file sets off in the reader is one and the same thing to the user
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(
            f"{path}: expected a complete safetensors file; it is damaged, cut short or something else ({reason})"
        ) from None
    with file:
        yield file


def _shapes(file: Any) -> TensorShapes:
    names = [name for name in file.keys() if name.rpartition(".")[2] != IGNORED]  # noqa: SIM118
    return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def _own_name(title: str) -> str:
    layer, dot, tensor = title.rpartition(".")
    return layer + dot + RENAMED.get(tensor, tensor)


def _problems(state: Mapping[str, Tensor], shapes: TensorShapes, allow_extra: bool) -> list[str]:
    missing = [f"{name} ({shape(tensor)})" for name, tensor in state.items() if name not in shapes]
    extra = [f"{name} ({_text(size)})" for name, size in shapes.items() if name not in state and not allow_extra]
    other = [
        f"{name} ({_text(shapes[name])}, expected {shape(tensor)})"
        for name, tensor in state.items()
        if name in shapes and shapes[name] != tuple(tensor.shape)
    ]
    kinds = {"missing": missing, "extra": extra, "of another shape": other}
    return [f"{kind}: {_first(titles)}" for kind, titles in kinds.items() if titles]


def _text(size: Sequence[int]) -> str:
    return shape(torch.empty(tuple(size), device="meta"))


def _first(titles: list[str]) -> str:
    rest = len(titles) - SHOWN
    return ", ".join(titles[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _hint(state: Mapping[str, Tensor], shapes: TensorShapes, prefix: str) -> str:
    """Which prefix would find the first of the network's tensors."""
    name = next(iter(state), "")
    others = {title[: -len(name)] for title in shapes if name and title.endswith(f".{name}")} - {prefix}
    return f" (try prefix={' or '.join(map(repr, sorted(others)))})" if others else ""


def _describe(network: Network, name: str) -> None:
    """What the published weights want to see, into the network's meta."""
    if name not in PREPROCESSING or (name == "vgg19" and "conv0" not in network.blocks):
        return
    network.meta["preprocessing"] = dict(PREPROCESSING[name])
    if size := PREPROCESSING[name]["size"]:
        network.meta["shape"] = [3, *size]


def _vgg19(shapes: TensorShapes) -> dict[str, Any]:
    with_conv0 = "conv0.weight" in shapes
    return {
        "until": _last_convolution(shapes).replace("conv", "relu"),
        "width": shapes["conv1_1.weight"][0],
        "with_conv0": with_conv0,
        "padding": "reflect" if with_conv0 else "zeros",  # those who put conv0 into the file reflect, too
    }


def _vgg19_decoder(shapes: TensorShapes) -> dict[str, Any]:
    return {"start": _last_convolution(shapes), "width": shapes["conv1_1.weight"][1]}


def _last_convolution(shapes: TensorShapes) -> str:
    names = [name for name, _, tensor in (title.rpartition(".") for title in shapes) if tensor == "weight"]
    layers = [name for name in names if name.startswith("conv") and "_" in name]
    if "conv1_1" not in layers or len(shapes["conv1_1.weight"]) != 4:
        raise FormatError(f"expected weights of VGG-19 (conv1_1.weight, …), the file holds {_first(sorted(shapes))}")
    return max(layers)


SETTINGS_FROM_FILE: dict[str, Callable[[TensorShapes], dict[str, Any]]] = {
    "vgg19": _vgg19,
    "vgg19_decoder": _vgg19_decoder,
}
PREFIXES = {"vgg19": "encoder.", "vgg19_decoder": "decoder."}
"""What a file that holds a network and its inverse has in front of each one's names."""
