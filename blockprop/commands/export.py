"""`blockprop export`: a saved network as an ONNX model."""

import time
from pathlib import Path
from typing import Annotated

import typer

from blockprop.commands.console import show
from blockprop.commands.options import Blocks, Json, NetworkOption, OpaqueNodes, SavedNetwork, one_network
from blockprop.commands.parsing import shape_named
from blockprop.commands.results import place
from blockprop.errors import SettingError

EPILOG = (
    "What is written is the network as it is in evaluation. Axes that it can take in any size are free in the file, "
    "too.\n\n"
    "Examples:\n\n"
    "blockprop export squeezenet.safetensors -o squeezenet.onnx\n\n"
    "blockprop export segment.safetensors -o segment.onnx --opset 21 --shape 3,512,512"
)


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")],
    network: SavedNetwork = None,
    named: NetworkOption = None,
    opset: Annotated[int, typer.Option(help="The version of ONNX' operators, 17 to 21.")] = 18,
    shape: Annotated[
        str | None,
        typer.Option(help="One example's shape, such as 3,224,224; those of several inputs between semicolons."),
    ] = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    as_json: Json = False,
) -> None:
    """Write a saved network as an ONNX model, which onnxruntime and many other programs run."""
    from blockprop.commands.inputs import load_network
    from blockprop.exporters import to_onnx
    from blockprop.saving.files import require_writable

    if out.suffix != ".onnx":
        raise SettingError(f"--out: expected a name that ends in .onnx, came {str(out)!r}")
    out = place(out)
    require_writable(out)
    start = time.perf_counter()
    net = load_network(one_network(network, named) or "pictures", own_blocks, opaque=opaque)
    sizes = None if shape is None else [shape_named(part) for part in shape.split(";")]
    if sizes is not None and len(sizes) != len(net.inputs):
        names = ", ".join(net.inputs)
        raise SettingError(f"--shape: expected one for each of {names}, between semicolons, came {shape!r}")
    to_onnx(net, out, opset, sizes)
    result = {"model": str(out), "opset": opset, "nodes": len(net.nodes), "file_bytes": out.stat().st_size}
    show(result | {"seconds": time.perf_counter() - start}, as_json)
