"""Network -> ONNX file: every node becomes an operator, or a few where ONNX has none."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.saving.files import StrPath

OLDEST, NEWEST = 17, 21
"""The opsets that can be written."""


def to_onnx(
    network: Network,
    path: StrPath,
    opset: int = 18,
    shape: Sequence[int]
    | Sequence[Sequence[int] | Tensor]
    | Tensor
    | Mapping[str, Sequence[int] | Tensor]
    | None = None,
) -> None:
    """Write the network, as it is in evaluation, as an ONNX model; atomically: on failure an older file stays.

    Inputs, outputs and operators have the names of the network's inputs and nodes, weights those of its parameters.
    Axes that network.meta["free"] calls free are so in the file, too, under the names "batch", "height" and "width" or
    "x_1"; without it the batch is free. network.meta itself is kept in the file's metadata, under "blockprop".
    Weights of more than 2 GiB are kept in a second file beside it, PATH.data.

    opset: the version of ONNX' operators, 17 to 21.
    shape: one example's, without the batch, if network.meta["shape"] does not say it; for several inputs a dict, or as
        many in their order. An example input itself (with its batch) will do, too, and says its type of number besides.
    Raises UnsupportedError listing every node whose block ONNX has no form for, SettingError if the shape is not known,
    FormatError if the file cannot be written.
    """
    from blockprop.exporters.onnx.model import model_of, write  # late, because importing onnx takes a tenth of a second

    if not OLDEST <= opset <= NEWEST:
        raise SettingError(f"opset must be in {OLDEST}…{NEWEST}, came {opset}")
    proto, tensors = model_of(network, opset, shape, Path(path).stem)
    write(proto, tensors, Path(path))
