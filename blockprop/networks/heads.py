"""A network that has learned something learns something else: it keeps what it is, with a new last layer."""

import math
from typing import NamedTuple

import torch

from blockprop.blocks import Add, Affine, Conv1d, Conv2d, Conv3d, Flatten, Linear, Parameter
from blockprop.engine.about import About
from blockprop.engine.block import Block
from blockprop.engine.fitting import fitting
from blockprop.engine.graph import needed_nodes
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, SettingError

LAYERS = (Linear, Conv1d, Conv2d, Conv3d)
"""What a last layer may be."""
OF_OLD_OUTPUTS = ("classes", "encoder", "target", "data", "held_out", "spec", "loss")
"""Keys of `network.meta` that say what the outputs meant."""


class Head(NamedTuple):
    """The last layer with weights, and the nodes behind it that pool what it gives, first one first."""

    layer: Node
    pools: list[Node]


def with_outputs(network: Network, count: int) -> Network:
    """The network with a new last layer of so many outputs. All other blocks are shared with the old network.

    The last layer is the Linear or convolution nearest to the output. The new one has its name and its settings, and
    its weights start at 0, so that no output is likelier than another. Poolings and dropout behind it stay. What turns
    scores into something else (a softmax, a ReLU, a bias by itself, units) is gone: what comes out is `count` numbers.
    `meta` keeps what the network expects of its input, and loses what it says of its outputs.
    Raises SettingError if there is no such layer, or several inputs or outputs.
    """
    layer, pools = head_of(network)
    nodes = needed_nodes(network.nodes, layer.inputs)
    nodes.append(Node(layer.name, _fresh(layer.block, count), layer.inputs))
    for node in pools:
        nodes.append(Node(node.name, node.block, nodes[-1].keys))
    result = Network(nodes, network.inputs, nodes[-1].keys, _about(network.meta, {node.name for node in nodes}))
    shape = _outputs(result)
    if len(shape) > 1:
        result = Network([*nodes, Node("scores", Flatten(), result.outputs)], network.inputs, ("scores",), result.meta)
        shape = (math.prod(shape),)
    if shape != (count,):
        raise SettingError(
            f"a new last layer at {layer.name!r} gives outputs of {shape} for each example, not ({count},): "
            "its scores have places that nothing averages"
        )
    return result


def head_of(network: Network) -> Head:
    """The last layer with weights, which gives the scores. SettingError if there is none that could be exchanged."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        ends = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        raise SettingError(f"expected a network with one input and one output, this one has {ends}")
    producers = {key: node for node in network.nodes for key in node.keys}
    pools: list[Node] = []
    node = producers.get(network.outputs[0])
    while node is not None and not _is_layer(node.block):
        source = _source(node, producers)
        if source is None:
            raise SettingError(
                f"the network ends with {node.name!r}, {node.block!r}: no last layer (Linear or convolution) that "
                "could be exchanged for one of other outputs"
            )
        if _pools(node.block):
            pools.insert(0, node)
        node = producers.get(source)
    if node is None:
        raise SettingError("the network has no layer with weights that could be exchanged for one of other outputs")
    return Head(node, pools)


def _is_layer(block: Block) -> bool:
    return isinstance(block, LAYERS) and getattr(block, "groups", 1) == 1


def _pools(block: Block) -> bool:
    return block.pools or block.kind == "pooling"


def _source(node: Node, producers: dict[str, Node]) -> str | None:
    """Where the scores come from that a node behind the last layer takes; None if it does more than arrange them."""
    block = node.block
    if isinstance(block, Add):  # a bias that stands by itself, as in some ONNX files
        sources = [key for key in node.inputs if not isinstance(_block(producers, key), Parameter)]
        return sources[0] if len(sources) == 1 else None
    passes = block.arranges or _pools(block) or block.kind == "activation" or isinstance(block, Affine)
    return node.inputs[0] if passes and len(node.inputs) == 1 and not block.parameters else None


def _block(producers: dict[str, Node], key: str) -> Block | None:
    node = producers.get(key)
    return None if node is None else node.block


def _fresh(block: Block, count: int) -> Block:
    """A block like this one with `count` outputs and weights of 0, on the same device and of the same type."""
    name = "features_out" if isinstance(block, Linear) else "channels_out"
    old = next(iter(block.parameters.values()))
    made = type(block)(**block.settings | {name: count, "with_bias": True})
    for name, tensor in made.parameters.items():
        setattr(made, name, torch.zeros_like(tensor, dtype=old.dtype, device=old.device))
    return made


def _about(meta: About, nodes: set[str]) -> About:
    kept = {name: value for name, value in meta.items() if name not in OF_OLD_OUTPUTS}
    if renamed := meta.get("parameter_names"):
        kept["parameter_names"] = {here: name for here, name in renamed.items() if here.rpartition(".")[0] in nodes}
    return About(**kept)  # type: ignore[typeddict-item]


def _outputs(network: Network) -> tuple[int, ...]:
    """The shape of what the network gives for one example, by a trial run of two."""
    example = network.meta.get("shape")
    if not example:
        raise SettingError('network.meta["shape"] does not say what one example is: set it, to [3, 224, 224], say')
    try:
        y = network(fitting(torch.zeros(2, *example), network))
    except BlockpropError as error:
        raise SettingError(f"the network cannot take two examples of {tuple(example)} at once ({error})") from error
    return tuple(y.shape[1:])
