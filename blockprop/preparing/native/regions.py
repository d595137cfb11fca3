"""Which nodes of a prepared network go together into one program."""

from collections.abc import Collection, Iterable, Sequence

import torch

from blockprop.blocks import Add, Concat
from blockprop.engine.plan import Node
from blockprop.native.memory import is_in_memory
from blockprop.preparing.convolution import FixedConv2d
from blockprop.preparing.draft import free_name
from blockprop.preparing.native.convolutions import NativeConvolution
from blockprop.preparing.native.kernels import Kernels, kernels
from blockprop.preparing.native.region import NativeRegion, Same
from blockprop.preparing.pooling import FixedMaxPool2d
from blockprop.preparing.sums import FixedReLU, RectifiedSum


def with_regions(nodes: Sequence[Node], visible: Collection[str], untouched: Collection[str]) -> list[Node]:
    """The nodes, those together for which there are kernels; as they are where there are none.

    visible: keys that somebody looks at, or at whose error; regions end there.   untouched: nodes that stay.
    """
    found = kernels()
    if found is None:
        return [*nodes]
    levels = _levels(nodes, visible, untouched)
    regions: dict[int, list[Node]] = {}
    for node in nodes:
        if levels[node.name] % 2:
            regions.setdefault(levels[node.name], []).append(node)
    result: list[Node] = []
    done: set[int] = set()
    for node in nodes:
        level = levels[node.name]
        region = regions.get(level, [])
        if not any(isinstance(link.block, FixedConv2d) for link in region):
            result.append(node)
        elif level not in done:
            done.add(level)
            result += _joined(region, nodes, visible, found)
    return result


def has_kernels(node: Node) -> bool:
    """Whether there are kernels for its block."""
    block = node.block
    if isinstance(block, FixedConv2d):
        return (
            block._forth.weight.dtype == torch.float32
            and is_in_memory(block._forth.weight)
            and NativeConvolution.takes(block)
        )
    if isinstance(block, Concat):
        return block.axis in (1, -3)
    if isinstance(block, Add | RectifiedSum):
        return len(node.inputs) == 2
    return isinstance(block, FixedMaxPool2d | FixedReLU)


def _levels(nodes: Iterable[Node], visible: Collection[str], untouched: Collection[str]) -> dict[str, int]:
    """Odd for nodes of regions, even for others; along each way it never falls, and rises where a region ends."""
    levels: dict[str, int] = {}
    for node in nodes:
        own = int(has_kernels(node) and node.name not in untouched)
        level = own
        for key in node.inputs:
            before = levels.get(key.partition("[")[0], 0) + (key in visible)
            level = max(level, before if before % 2 == own else before + 1)
        levels[node.name] = level
    return levels


def _joined(region: Sequence[Node], nodes: Sequence[Node], visible: Collection[str], found: Kernels) -> list[Node]:
    """One node for all of these, and one for each of its outputs if there are several."""
    names = {node.name for node in region}
    inputs = tuple(dict.fromkeys(key for node in region for key in node.inputs if key not in names))
    read = {key for node in nodes if node.name not in names for key in node.inputs} | {*visible}
    outputs = tuple(node.name for node in region if node.name in read)
    block = NativeRegion(tuple(region), inputs, outputs, found)
    if len(outputs) == 1:
        return [Node(outputs[0], block, inputs)]
    name = free_name(f"{region[0].name} … {region[-1].name}", nodes)
    return [Node(name, block, inputs), *(Node(key, Same(), (f"{name}[{i}]",)) for i, key in enumerate(outputs))]


def described(nodes: Iterable[Node]) -> str:
    """How many nodes there are kernels for, and which, in words."""
    found = kernels()
    regions = [node.block for node in nodes if isinstance(node.block, NativeRegion)]
    if not regions:
        return "nothing to do" if found else "no kernels in C (blockprop info says why)"
    count = sum(len(region.nodes) for region in regions)
    return f"{count} nodes in {len(regions)} programs, {regions[0].kernels.set}"
