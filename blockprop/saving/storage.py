"""Save and load networks: safetensors for the tensors, JSON for the graph, never pickle.

    save(network, "net.safetensors")    one file, the JSON in its metadata
    save(network, "net")                a folder: network.json (to read and edit) and weights.safetensors, or at every
                                        other time weights_2.safetensors: network.json says which

Loading runs no code from the file. Blocks are first built without memory (on torch's "meta" device), so that the sizes
a file claims cost nothing until they are found to be those of the tensors it really holds.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from blockprop import blocks as shipped
from blockprop.engine.about import About, require_about
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import FormatError, SettingError, did_you_mean, shape
from blockprop.interop.opaque import Opaque
from blockprop.saving.files import (
    KINDS,
    StrPath,
    dump,
    kind_of,
    naming,
    plain,
    put_bytes,
    put_tensors,
    read_document,
    read_tensors,
    replaced,
    require_writable,
    short,
    write_tensors,
)

FORMAT, VERSION = "blockprop network", 1
LARGEST_CONSTANT = 2**26
"""Elements that a block may compute for itself in its constructor, beside what the file holds."""
GRAPH, WEIGHTS = "network.json", ("weights.safetensors", "weights_2.safetensors")
"""Files of a folder. The weights alternate between two names, so that old ones stay until the graph names new ones."""
MOST_OUTPUTS = 10_000
LONGEST_NAME = 1000
"""Characters of a name, which messages repeat."""
MOST_NAMED = 5
"""Nodes in a sentence."""
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

T = TypeVar("T")


def save(network: Network, path: StrPath) -> None:
    """Write the graph, weights and buffers; atomically: on failure an older file stays as it was.

    path: with a suffix one file is written, without one a folder; missing parent folders are made.
    Raises FormatError if it cannot be written, or a block's setting or `network.meta` is not plain data.
    """
    target, tensors, document = Path(path), network.state, _describe(network)
    if target.suffix:
        write_tensors(target, tensors, document)
        return
    # One step makes the new network of the old one: that of the graph, which says where its weights are.
    free = next(name for name in WEIGHTS if name != _weights_beside(target / GRAPH))
    with replaced(target / GRAPH) as graph:
        put_bytes(graph, (dump(document | {"weights": free}, indent=1) + "\n").encode())
        with replaced(target / free) as weights:
            put_tensors(weights, tensors, {})
    for name in WEIGHTS:
        if name != free:
            with suppress(OSError):
                (target / name).unlink()


def require_place(path: StrPath) -> None:
    """FormatError if no network could be saved there: better before the work than after it. Makes parent folders."""
    target = Path(path)
    require_writable(target if target.suffix else target / GRAPH)


def _weights_beside(graph: Path) -> str | None:
    """The file with the weights that a graph in a folder names; None if there is no such graph."""
    try:
        return _named_weights(read_document(graph))
    except FormatError:
        return None


def _named_weights(document: dict[str, Any]) -> str:
    name = document.get("weights", WEIGHTS[0])
    if name not in WEIGHTS:
        raise FormatError(f"expected its weights in {' or '.join(WEIGHTS)}, came {short(name)}")
    return str(name)


def load(path: StrPath, blocks: Mapping[str, type[Block]] | None = None, opaque: bool = False) -> Network:
    """Read what `save` wrote. Numbers keep the file's precision (float16, float32, float64, …).

    blocks: {type name: class} of blocks that are not blockprop's own.
    opaque: whether the file may name operators of torch to be run (`Opaque`). Those that it may name are thought to
        check what they are given, but they are torch's own: a file from a source that you do not trust needs none.
        And whether it may take memory out of proportion to its inputs and weights (docs/security.md).
    Raises FormatError, naming the file, for everything that is not a complete and consistent network.
    """
    source = Path(path)
    classes = _classes(blocks or {})
    if not source.is_dir():
        tensors, document = read_tensors(source)
    else:
        document = read_document(source / GRAPH)
        with naming(source / GRAPH):
            weights = _named_weights(document)
        tensors, _ = read_tensors(source / weights)
    with naming(source):
        return _rebuild(document, tensors, classes, opaque)


def _describe(network: Network) -> dict[str, Any]:
    keys = {id(block): name for name, block in network.unique_blocks.items()}
    return {
        "format": FORMAT,
        "version": VERSION,
        "inputs": network.inputs,
        "outputs": network.outputs,
        "meta": plain(network.meta, "network.meta"),
        "blocks": {
            name: {"type": type(block).__name__, "settings": plain(block.settings, f"{block!r} at {name!r}: settings")}
            for name, block in network.unique_blocks.items()
        },
        "nodes": [{"name": node.name, "block": keys[id(node.block)], "inputs": node.inputs} for node in network.nodes],
    }


def _rebuild(
    document: dict[str, Any], tensors: dict[str, Tensor], classes: Mapping[str, type[Block]], opaque: bool
) -> Network:
    _check_version(document)
    if not opaque:
        _require_no_opaque(document, classes)
    described, nodes = _field(document, "blocks", dict), _field(document, "nodes", list)
    inputs, outputs = _names(document, "inputs"), _names(document, "outputs")
    meta = cast(About, _field(document, "meta", dict))
    require_about(meta)
    blocks = {key: _block(key, entry, classes, tensors) for key, entry in described.items()}
    places = {f"{key}.{name}" for key, block in blocks.items() for name in block.parameters | block.buffers}
    if extra := sorted(tensors.keys() - places):
        raise FormatError(f"the file holds tensors that no block has: {short(', '.join(extra))}")
    if sum(block.output_count for block in blocks.values()) > MOST_OUTPUTS:
        raise FormatError(f"the blocks have more than {MOST_OUTPUTS} outputs, which cannot be meant")
    return Network([_node(entry, blocks) for entry in nodes], inputs, outputs, meta).bounded(trusted=opaque)


def _require_no_opaque(document: dict[str, Any], classes: Mapping[str, type[Block]]) -> None:
    """FormatError if nodes of the file would run operators of torch that it names."""
    described, nodes = _field(document, "blocks", dict), _field(document, "nodes", list)
    hidden = {key for key, entry in described.items() if classes.get(str(_get(entry, "type"))) is Opaque}
    if names := [short(repr(_get(entry, "name"))) for entry in nodes if str(_get(entry, "block")) in hidden]:
        first = ", ".join(names[:MOST_NAMED]) + f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED)
        raise FormatError(
            f"the file names operators of torch to be run, at {'node' if len(names) == 1 else 'the nodes'} {first}; "
            "opaque=True allows it, if you trust where the file comes from"
        )


def _get(holder: Any, key: str) -> Any:
    return holder.get(key) if isinstance(holder, dict) else None


def _check_version(document: dict[str, Any]) -> None:
    name = document.get("format")
    if name != FORMAT:
        raise FormatError(f"expected a saved network ({FORMAT!r}), but the file calls itself {short(name)}")
    version = _field(document, "version", int)
    if version > VERSION:
        raise FormatError(
            f"the file has version {version} of the format, this blockprop reads up to {VERSION}; update blockprop"
        )


def _node(entry: Any, blocks: Mapping[str, Block]) -> Node:
    name, key = _field(entry, "name", str), _field(entry, "block", str)
    if key not in blocks:
        raise FormatError(f"node {name!r} stands for the block {key!r}, which the file does not describe")
    return Node(name, blocks[key], _names(entry, "inputs"))


def _block(key: str, entry: Any, classes: Mapping[str, type[Block]], tensors: Mapping[str, Tensor]) -> Block:
    """The block with the file's tensors in it, made only after its sizes were found to be those of the tensors."""
    kind, settings = _field(entry, "type", str), _tuples(_field(entry, "settings", dict))
    if kind not in classes:
        raise FormatError(
            f"block {key!r} is of the unknown type {kind!r}; if it is your own class, pass it: "
            f"load(path, blocks={{{kind!r}: your_class}}){did_you_mean(kind, classes)}"
        )
    block = _construct(key, classes[kind], settings, torch.device("meta"))
    held = block.parameters | block.buffers
    for name, tensor in held.items():
        _check_tensor(f"{key}.{name}", tensor, tensors)
    rest = [value for name, value in vars(block).items() if name not in held]
    constants = sum(tensor.numel() for tensor in _meta_tensors(rest))
    if constants > LARGEST_CONSTANT:
        raise FormatError(f"block {key!r} asks for a table of {constants} numbers; {LARGEST_CONSTANT} are allowed")
    if constants:  # the constructor computes tensors of its own, so it has to run for real
        block = _construct(key, classes[kind], settings, torch.device("cpu"))
    for name in held:
        setattr(block, name, tensors[f"{key}.{name}"])
    return block


def _tuples(value: Any) -> Any:
    """The value with tuples for JSON's lists: constructors take tuples."""
    if isinstance(value, list):
        return tuple([_tuples(item) for item in value])
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _construct(key: str, kind: type[Block], settings: dict[str, Any], device: torch.device) -> Block:
    try:
        with torch.random.fork_rng(devices=[]), device:
            block = kind(**settings)
        if not isinstance(block.output_count, int):
            raise TypeError(f"{block.output_count!r} outputs")
    except Exception as error:  # a constructor may object to a setting in any way it likes
        raise FormatError(
            f"block {key!r}: {kind.__name__} refuses the settings {short(settings)} ({short(error)})"
        ) from error
    return block


def _meta_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor) and value.is_meta:
        yield value
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _meta_tensors(item)


def _check_tensor(title: str, expected: Tensor, tensors: Mapping[str, Tensor]) -> None:
    if title not in tensors:
        raise FormatError(f"the tensor {title!r} ({shape(expected)}) is missing")
    tensor = tensors[title]
    if tensor.shape != expected.shape:
        raise FormatError(f"the tensor {title!r} is {shape(tensor)}; its block takes {shape(expected)}")
    if not (expected.dtype == tensor.dtype or (expected.dtype in FLOATS and tensor.dtype in FLOATS)):
        raise FormatError(f"the tensor {title!r} holds {tensor.dtype}; its block takes {expected.dtype}")


def _classes(blocks: Mapping[str, type[Block]]) -> dict[str, type[Block]]:
    for name, kind in blocks.items():
        if not (isinstance(kind, type) and issubclass(kind, Block)):
            raise SettingError(f"blocks: expected a subclass of Block under {name!r}, got {kind!r}")
    return {**shipped.BLOCKS, Opaque.__name__: Opaque, **blocks}


def _field(holder: Any, key: str, kind: type[T]) -> T:
    if not isinstance(holder, dict):
        raise FormatError(f"expected an object with {key!r}, got {kind_of(holder)}")
    value = holder.get(key)
    if isinstance(value, str) and len(value) > LONGEST_NAME:
        raise FormatError(f"expected {key!r} to have at most {LONGEST_NAME} characters, got {short(value)}")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FormatError(f"expected {key!r} to be {KINDS[kind]}, got {kind_of(value)} in {short(holder)}")
    return value


def _names(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    names = _field(holder, key, list)
    if not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names):
        raise FormatError(f"expected {key!r} to be a list of names, got {short(names)}")
    return tuple(names)
