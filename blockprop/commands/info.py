"""`blockprop info`: what a saved network takes and gives, and what its nodes cost."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockprop.commands.console import printable, say, show, show_table
from blockprop.commands.options import BATCH_SIZE, Blocks, Json, NetworkOption, OpaqueNodes, SavedNetwork, one_network

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.engine.about import About
    from blockprop.engine.block import Block
    from blockprop.engine.network import Network
    from blockprop.pictures.preprocessing import Preprocessing
    from blockprop.reports.costs import Cost


EPILOG = (
    "What the columns count:\n\n"
    "parameters   Numbers that are trained. A shared block's stand at the first of its nodes.\n\n"
    "mult-adds    Multiply-adds of the forward pass: of linear maps, convolutions, products of matrices, attention and "
    "recurrence. What is done element by element, biases, pooling and normalization count as 0, as usual. Blocks that "
    "are not blockprop's own have a question mark.\n\n"
    "alive        Memory of all inputs and outputs that are still needed when the node has run, in a forward pass. "
    "The largest number is what such a pass takes.\n\n"
    "saved        Memory that the node keeps for going back to the input; what an earlier node keeps is not counted "
    "again. Their sum is what stays after a forward pass with a trace.\n\n"
    "Both are measured by running the network once; neither contains the weights, nor what a block needs for a moment "
    "while it computes. k, M, G: thousands, millions, billions.\n\n"
    "Examples:\n\n"
    "blockprop info squeezenet.safetensors\n\n"
    "blockprop info segment.safetensors --shape 3,512,512 --batch-size 8"
)
PIPE_WIDTH, LEAST_WIDTH = 100, 80
"""Characters of a line where there is no terminal, and at least in any case."""
GAP = "  "
OPAQUE = "! "
"""What stands in front of a block that could do anything."""


def info(
    network: SavedNetwork = None,
    named: NetworkOption = None,
    shape: Annotated[
        str | None,
        typer.Option(help="One example's shape, such as 3,224,224; those of several inputs between semicolons."),
    ] = None,
    batch_size: Annotated[int, typer.Option(*BATCH_SIZE, min=1, help="How many examples run at once.")] = 1,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    as_json: Json = False,
) -> None:
    """Say what a saved network takes and gives, and what its nodes cost: parameters, multiply-adds, memory."""
    from blockprop.commands.columns import column_facts, show_columns
    from blockprop.commands.example_inputs import example_inputs
    from blockprop.commands.inputs import load_network, table_encoder
    from blockprop.reports.costs import costs, parameter_counts

    network = one_network(network, named) or "pictures"
    net = load_network(network, own_blocks, opaque=opaque)
    inputs = example_inputs(net, shape, batch_size)
    node_costs = costs(net, *inputs) if inputs is not None else []
    facts = _facts(net, network, inputs or [], node_costs)
    encoder = table_encoder(net)
    facts |= {"columns": column_facts(encoder)} if encoder else {}
    if as_json:
        show(facts | {"nodes": _nodes(net, node_costs)}, as_json)
        return
    _show_facts(net, facts)
    if encoder is not None:
        print()
        show_columns(encoder, most=None)
        for note in encoder.notes:
            print(printable(note))
    print()
    if node_costs:
        _show_costs(node_costs, facts)
        return
    counts = parameter_counts(net)
    rows = [[node.name, _title(node.block), _count(counts[node.name])] for node in net.nodes]
    _show_columns(["node", "block", "parameters"], rows, [f"{len(rows)} nodes", "", _count(facts["parameters"])])
    say("the network does not say what its inputs look like; with --shape 3,224,224 each node has its costs")


def _facts(network: Network, path: str, inputs: list[Tensor], found: list[Cost]) -> dict[str, Any]:
    from blockprop.native.library import status
    from blockprop.reports.costs import total

    meta, source, state = network.meta, Path(path), network.state.values()
    files = [source] if source.is_file() else [file for file in source.rglob("*") if file.is_file()]
    shapes = {name: list(x.shape) for name, x in zip(network.inputs, inputs, strict=False)}
    for node, cost in zip(network.nodes, found, strict=False):
        shapes |= {key: list(size) for key, size in zip(node.keys, cost.shapes, strict=True)}
    free = meta.get("free") or {}
    facts: dict[str, Any] = {
        "network": path,
        "from": _origins(meta),
        "file_bytes": sum(file.stat().st_size for file in files),
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state}),
        "inputs": [{"name": name, "shape": shapes.get(name), "free": free.get(name)} for name in network.inputs],
        "outputs": [{"name": name, "shape": shapes.get(name)} for name in network.outputs],
        "notes": meta.get("notes") or [],
        "picture": meta.get("picture"),
        "classes": meta.get("classes") or None,
        "parameters": sum(tensor.numel() for tensor in network.parameters.values()),
        "weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in state),
        "opaque": [node.name for node in network.nodes if _is_opaque(node.block)],
        "native": status(),
    }
    if not found:
        return facts
    whole = total(found)
    unknown = [cost.node for cost in found if cost.multiply_adds is None]
    facts |= {"multiply_adds": whole.multiply_adds, "unknown_multiply_adds": unknown}
    return facts | {"forward_bytes": whole.forward_bytes, "saved_bytes": whole.saved_bytes}


def _origins(meta: About) -> list[str]:
    """Where the network comes from, as far as it says so: what it was made or imported from, and trained on."""
    source = meta.get("source")
    origins = [*(source.values() if isinstance(source, dict) else [source])]
    origins += [meta.get("architecture"), meta.get("spec"), meta.get("data")]
    return [text for text in origins if text and isinstance(text, str)]


def _nodes(network: Network, found: list[Cost]) -> list[dict[str, Any]]:
    """The table for programs."""
    from blockprop.reports.costs import parameter_counts

    if not found:
        counts = parameter_counts(network)
        return [
            {"node": node.name, "block": repr(node.block), "parameters": counts[node.name]} for node in network.nodes
        ]
    return [{**vars(cost), "block": repr(cost.block)} for cost in found]


def _is_opaque(block: Block) -> bool:
    from blockprop.interop.opaque import Opaque

    return isinstance(block, Opaque)


def _show_facts(network: Network, facts: dict[str, Any]) -> None:
    from blockprop.pictures.framing import preprocessing_of

    weights = [f"{facts['parameters']:,} parameters", _bytes(facts["weight_bytes"]), *facts["dtypes"]]
    rows = [["network", f"{facts['network']}  {_bytes(facts['file_bytes'])}"], ["weights", ", ".join(weights)]]
    if facts["from"]:
        rows.append(["from", ", ".join(facts["from"])])
    for kind in ("input", "output"):
        for value in facts[f"{kind}s"]:
            size = f"  {_size(value['shape'])}" if value["shape"] else ""
            free = value.get("free")
            rows.append([kind, value["name"] + size + (f"  free axes: {', '.join(map(str, free))}" if free else "")])
    rows.append(["kernels", _cut(f"native: {facts['native']}", _width() - 10, at_end=True)])
    rows += [["note", note] for note in facts["notes"]]
    picture = preprocessing_of(network)
    if picture:
        rows.append(["picture", _of_picture(picture)])
    if facts["classes"]:
        names = f"{len(facts['classes'])}: {'; '.join(facts['classes'])}"
        rows.append(["classes", _cut(names, _width() - 10, at_end=True)])
    show_table([], rows)


def _of_picture(picture: Preprocessing) -> str:
    """The preprocessing in a line: what is done to a photograph, and then to its numbers."""
    size = _size(picture.height_width) if picture.height_width else "any size"
    side = f" out of {picture.reading_side} on the shorter side" if picture.reading_side else ""
    text = "x" if picture.range == 1 else f"{picture.range:g} x"
    mean, scale = _plain(picture.mean), _plain(picture.scale)
    text = text if mean == "0" else f"{text} − {mean}"
    text = text if scale == "1" else f"({text}) / {scale}"
    return f"{picture.channels}, {size}{side}; {text}"


def _plain(value: Any) -> str:
    """One number if all channels have the same."""
    texts = [f"{number:g}" for number in (value if isinstance(value, tuple) else [value])]
    return texts[0] if len(set(texts)) == 1 else f"({', '.join(texts)})"


def _show_costs(found: list[Cost], facts: dict[str, Any]) -> None:
    heads = ["node", "block", "output", "parameters", "mult-adds", "alive", "saved"]
    rows = [
        [
            cost.node,
            _title(cost.block),
            _size(cost.shapes[0]) + (f" +{len(cost.shapes) - 1}" if len(cost.shapes) > 1 else ""),
            _count(cost.parameters),
            "?" if cost.multiply_adds is None else _scaled(cost.multiply_adds),
            _bytes(cost.forward_bytes),
            _bytes(cost.saved_bytes),
        ]
        for cost in found
    ]
    unknown = " + ?" if facts["unknown_multiply_adds"] else ""
    sums = [_count(facts["parameters"]), _scaled(facts["multiply_adds"]) + unknown]
    memory = [_bytes(facts["forward_bytes"]), _bytes(facts["saved_bytes"])]
    _show_columns(heads, rows, [f"{len(found)} nodes", "in all", "", *sums, *memory])
    if facts["opaque"]:
        say(f"{OPAQUE}blockprop has no block of its own for {len(facts['opaque'])} of the nodes")


def _show_columns(heads: list[str], rows: list[list[str]], last: list[str]) -> None:
    """A table that fits the terminal, with numbers on the right.

    What is too long is cut instead of wrapped: names of nodes in the middle, descriptions of blocks at their end.
    """
    widths = [max(len(line[i]) for line in (heads, *rows, last)) for i in range(len(heads))]
    rest = _width() - sum(widths[2:]) - len(GAP) * (len(heads) - 1)
    widths[1] = min(widths[1], max(rest - widths[0], rest // 2))
    widths[0] = min(widths[0], rest - widths[1])
    for line in (heads, *rows, last):
        names = [_cut(line[0], widths[0]).ljust(widths[0]), _cut(line[1], widths[1], at_end=True).ljust(widths[1])]
        figures = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        print(GAP.join([*names, *figures]).rstrip())


def _width() -> int:
    return max(shutil.get_terminal_size((PIPE_WIDTH, 24)).columns, LEAST_WIDTH)


def _cut(text: str, width: int, at_end: bool = False) -> str:
    """At most so many characters, with … for what is left out of the middle or of the end."""
    if len(text) <= width:
        return text
    end = 0 if at_end else (width - 1) // 2
    return text[: width - 1 - end] + "…" + text[len(text) - end :]


def _title(block: Block) -> str:
    return (OPAQUE if _is_opaque(block) else "") + repr(block)


def _size(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes)) or "1"


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _scaled(number: int) -> str:
    """Three digits and a unit: 387,747,520 as 388 M; nothing for 0."""
    if number < 1000:
        return str(number or "")
    value, units = float(number), iter(("k", "M", "G", "T", "P"))
    unit = ""
    while round(value) >= 1000:
        value, unit = value / 1000, next(units)
    return f"{value:.{2 - (value >= 9.995) - (value >= 99.95)}f} {unit}"


def _bytes(number: int) -> str:
    text = _scaled(number)
    return text + ("" if not text else "B" if text[-1].isalpha() else " B")
