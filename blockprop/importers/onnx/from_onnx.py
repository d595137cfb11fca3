"""ONNX file -> Network: every operator in the file becomes a node."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blockprop.engine.about import About
from blockprop.engine.network import Network
from blockprop.errors import BlockpropError
from blockprop.importers.problems import unsupported
from blockprop.saving.files import StrPath

if TYPE_CHECKING:
    from blockprop.importers.onnx.trials import FinishedWalk

HINT = "CONTRIBUTING.md says how to add one."


def from_onnx(
    path: StrPath, sizes: Mapping[str, Any] | None = None, constants: Mapping[str, Any] | None = None
) -> Network:
    """The network of blocks that computes what the ONNX model in the file computes.

    One node for each operator, named as in the file. Weights that the file keeps beside itself are read from there.
    Axes that the file leaves free stay free wherever the model allows it: network.meta["free"] says which axes of which
    input may have any size, network.meta["shape"] one example's shape, network.meta["source"] where it came from.

    sizes: where to start with a free size, by the name that the file gives it, or the shape of an input by the input's
        name: {"height": 640} or {"data": (1, 3, 640, 640)}. Without, usual sizes are tried until the model runs.
    constants: values for some inputs, which are no inputs then, but weights: {"mean": array}.
    Raises FormatError if the file is no ONNX file or damaged, GraphError if its graph is broken, UnsupportedError
    listing every operator, version of one and setting without a block, SettingError for a name that the model lacks.
    """
    from blockprop.importers.onnx.model import read_model  # late, because importing onnx takes a tenth of a second
    from blockprop.importers.onnx.trials import search

    try:
        model = read_model(path, constants)
        walk = search(model, sizes or {})
        if walk.interpreter.problems:
            raise unsupported(Path(path).name, walk.interpreter.problems, HINT)
        network = walk.interpreter.graph.network(walk.outputs, {})
    except BlockpropError as error:
        if str(error).startswith((str(path), Path(path).name)):
            raise
        raise type(error)(f"{path}: {error}") from error
    network.meta.update(_meta(walk, model.source))
    return network


def _meta(walk: "FinishedWalk", source: dict[str, Any]) -> About:
    names = walk.interpreter.input_names
    free = {
        names[name]: [axis for axis, (a, b) in enumerate(zip(*shapes, strict=True)) if a != b]
        for name, shapes in walk.trials.items()
    }
    meta: About = {"source": source, "free": free}
    if walk.trials:
        first = next(iter(walk.trials.values()))[0]
        meta["shape"] = list(first[1:])
    renamed = {here: title for here, title in walk.interpreter.graph.parameter_names.items() if here != title}
    if renamed:
        meta["parameter_names"] = renamed
    if walk.interpreter.state.untied:
        meta["untied"] = walk.interpreter.state.untied
    return meta
