"""What a network says about itself, and what is saved with it: the keys of `network.meta`, each written down once."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, NotRequired, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from torch import Tensor

from blockprop.engine.briefly import brief
from blockprop.errors import FormatError, ShapeError, shape

MOST_NUMBERS = 2**40
"""Of one example."""
METADATA = "blockprop"
"""The key under which files in the formats of others hold all this."""


class HeldOut(TypedDict):
    """Which part of the training data the network has not seen: `fraction` of `source`, drawn with `seed`.

    source: a file's or folder's name, not its place.   digest: of its content, which older files lack.
    """

    source: str
    digest: NotRequired[str]
    fraction: float
    seed: int


class About(TypedDict, total=False):
    """Plain data about a network. Any key may be missing, and users may add keys of their own: it is a dict.

    Only this package's own places are held to these keys, by the type checker: `network.meta["clases"]` is an error.
    """

    shape: list[int]
    """One example's, without the batch."""
    free: dict[str, list[int]]
    """By input: the axes that may have any size; the batch is axis 0."""
    sizes: dict[str, list[int | None]]
    """Of an import, by input: the size of each axis, None where any will do. Other sizes are refused: what is computed
    from a size, or chosen by it, is right for this one alone."""
    classes: list[str]
    """Their names, in the order of the scores."""

    spec: str
    """The text that `build_network` made it from."""
    architecture: str
    """The published architecture that it is, such as "vgg19"; what looks good with it is chosen by this name."""
    source: dict[str, Any]
    """Where it was imported from: {"format": "torch", "class": …} or {"format": "onnx", "opset": …, "producer": …}."""

    preprocessing: dict[str, Any]
    """What its weights expect of a picture (`Preprocessing.to_dict`) that nothing does yet."""
    picture: dict[str, Any]
    """The same, when the blocks for it stand at the network's front: it takes pictures in 0…1."""
    crop: str
    """Which part of photographs it was trained on, if not their center: "whole" or "stretch", see `sight`."""

    data: str
    """The name of the data that it was trained on, without their place."""
    target: str | None
    """The column that it was trained to tell."""
    loss: dict[str, Any]
    """What it was trained to make small: {"name": …} and the settings that are not as usual."""
    encoder: dict[str, Any]
    """How a table's columns become numbers (`TableEncoder.to_dict`)."""
    held_out: HeldOut
    """What was kept back from training."""

    texts: list[str]
    """Of an import: the texts for which the whole numbers stand that its inputs take in place of text."""
    notes: list[str]
    """Of an import: what is worth knowing before use, each a sentence: a size that is fixed, and by what."""
    parameter_names: dict[str, str]
    """Of an import: what the original calls a parameter that has another name here."""
    computed: list[str]
    """Of an import: parameters that the original computes from others."""
    frozen: list[str]
    """Of an import: parameters that the original does not train."""
    untied: list[str]
    """Of an import: the original's parameters that became several, because blocks of different kinds hold them."""


def require_about(meta: Mapping[str, Any]) -> None:
    """FormatError for a key of `About` that holds something else, in a file that anybody may have written."""
    for name, hint in get_type_hints(About).items():
        if not _is_of(meta.get(name), hint | None):
            raise FormatError(f"what it says of itself is spoiled: {name!r} is {brief(meta[name])}")
    for name, sizes in (("shape", meta.get("shape") or ()), *(meta.get("sizes") or {}).items()):
        if (
            any(size is not None and size < 0 for size in sizes)
            or math.prod(size or 1 for size in sizes) > MOST_NUMBERS
        ):
            raise FormatError(f"what it says of itself is spoiled: {name!r} is {brief(sizes)}, which no tensor can be")


def _is_of(value: Any, hint: Any) -> bool:
    """Whether plain data are of a type, as far as the types of `About` go."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind is UnionType:
        return any(_is_of(value, part) for part in parts)
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return isinstance(value, Mapping) and all(
            _is_of(value.get(name), part)
            for name, part in hints.items()
            if name in value or name in kind.__required_keys__
        )
    if kind is list:
        return isinstance(value, list | tuple) and all(_is_of(item, parts[0]) for item in value)
    if kind is dict:
        return isinstance(value, Mapping) and all(_is_of(item, parts[1]) for item in value.values())
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return isinstance(value, NoneType if kind is None else kind)


def sizes_of(trials: Iterable[Sequence[int]]) -> list[int | None]:
    """The size of each axis of an input that was tried with these shapes, None where they differ."""
    return [size if not others - {size} else None for size, *rest in zip(*trials, strict=True) for others in [{*rest}]]


def require_sizes(sizes: Mapping[str, Sequence[int | None]], inputs: Mapping[str, Tensor]) -> None:
    """ShapeError for an input that has another size than `About.sizes` says."""
    for name, x in inputs.items():
        expected = sizes.get(name)
        if expected is not None and (
            len(expected) != x.dim() or any(n not in (None, m) for n, m in zip(expected, x.shape, strict=True))
        ):
            wanted = " x ".join("any" if size is None else str(size) for size in expected)
            raise ShapeError(
                f"input {name!r} is {shape(x)}, but the import fixed it at {wanted}: what it computes from other sizes "
                "would be wrong; import it with an example of this size"
            )
