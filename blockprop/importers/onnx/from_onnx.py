"""ONNX file -> Network: every operator in the file becomes a node."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blockprop.engine.about import About, sizes_of
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError, SettingError
from blockprop.importers.problems import unsupported
from blockprop.saving.files import StrPath

if TYPE_CHECKING:
    from blockprop.importers.onnx.model import Model
    from blockprop.importers.onnx.trials import FinishedWalk

HINT = "CONTRIBUTING.md says how to add one."


def from_onnx(
    path: StrPath,
    sizes: Mapping[str, Any] | Sequence[Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> Network:
    """The network of blocks that computes what the ONNX model in the file computes.

    One node for each operator, named as in the file. Weights that the file keeps beside itself are read from there.
    Axes that the file leaves free stay free wherever the model allows it: network.meta["free"] says which axes of which
    input may have any size, network.meta["shape"] one example's shape, network.meta["source"] where it came from.

    sizes: where to start with a free size, by the name that the file gives it, or the shape of an input by the input's
        name: {"height": 640} or {"data": (1, 3, 640, 640)}; or a list of the inputs' shapes in their order, None for
        a size of which nothing is said. Without, usual sizes are tried until the model runs.
    constants: values for some inputs, which are no inputs then, but weights: {"mean": array}.
    Raises FormatError if the file is no ONNX file or damaged, GraphError if its graph is broken, UnsupportedError
    listing every operator, version of one and setting without a block, SettingError for a name that the model lacks.
    """
    from blockprop.importers.onnx.model import read_model  # late, because importing onnx takes a tenth of a second
    from blockprop.importers.onnx.trials import search

    try:
        model = read_model(path, constants)
        walk = search(model, _by_name(model, sizes or {}))
        if walk.interpreter.problems:
            raise unsupported(Path(path).name, walk.interpreter.problems, HINT)
        network = walk.interpreter.graph.network(walk.outputs, {}).bounded()
    except BlockpropError as error:
        if str(error).startswith((str(path), Path(path).name)):
            raise
        raise type(error)(f"{path}: {error}") from error
    network.meta.update(_meta(walk, model))
    return network


def _by_name(model: "Model", sizes: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any]:
    """The sizes by name, also where they are a list of shapes."""
    if isinstance(sizes, Mapping):
        return sizes
    if len(sizes) != len(model.inputs):
        names = ", ".join(model.inputs)
        raise SettingError(f"expected a shape for each input ({names}), came {len(sizes)}")
    return dict(zip(model.inputs, sizes, strict=True))


def _meta(walk: "FinishedWalk", model: "Model") -> About:
    names = walk.interpreter.input_names
    free = {
        names[name]: [axis for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
        for name, shapes in walk.trials.items()
    }
    meta = About(**model.about, source=model.source, free=free)  # type: ignore[typeddict-item]
    meta["sizes"] = {names[name]: sizes_of(shapes) for name, shapes in walk.trials.items()}
    if walk.trials:
        first = next(iter(walk.trials.values()))[0]
        meta["shape"] = list(first[1:])
    if notes := [*_fixed_sizes(walk), *_fixed_batches(walk, model), *walk.interpreter.state.notes]:
        meta["notes"] = notes
    if walk.interpreter.state.classes:
        meta["classes"] = walk.interpreter.state.classes
    if walk.interpreter.state.vocabulary:
        meta["texts"] = walk.interpreter.state.vocabulary
    renamed = {here: title for here, title in walk.interpreter.graph.parameter_names.items() if here != title}
    if renamed:
        meta["parameter_names"] = renamed
    if walk.interpreter.state.untied:
        meta["untied"] = walk.interpreter.state.untied
    return meta


def _fixed_sizes(walk: "FinishedWalk") -> Iterator[str]:
    """For each size that the file leaves free and the model does not: how large it is, and which node wants it so."""
    for name, (places, reason) in walk.fixed.items():
        axes = " and ".join(f"axis {place.axis} of {walk.interpreter.input_names[place.input]!r}" for place in places)
        title = axes if name.startswith("axis ") else f"{name!r} ({axes})"
        size = walk.trials[places[0].input][0][places[0].axis]
        yield f"{title} is fixed at {size}" + (f": with other sizes, {reason}" if reason else "")


def _fixed_batches(walk: "FinishedWalk", model: "Model") -> Iterator[str]:
    """For each input whose first axis the file itself fixes: how large it is."""
    for name, given in model.inputs.items():
        if given.sizes and len(given.sizes) > 1 and isinstance(given.sizes[0], int):
            title = f"axis 0 of {walk.interpreter.input_names[name]!r}"
            yield f"{title} is fixed at {given.sizes[0]} by the file itself, which was exported for this batch alone"
