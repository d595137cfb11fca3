"""Which layers say what a picture's content and its style are, by network."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from blockprop.engine.network import Network
from blockprop.errors import GraphError, SettingError, no_such
from blockprop.visualize.depth import at_depth, spatial_rectifiers

LayerWeights = str | Sequence[str] | Mapping[str, float]
"""A node, several of them, or weights by node."""
AUTOMATIC = (0.1, 0.25, 0.45, 0.65, 0.85)
"""How deep, as parts of all rectifiers, the style layers of an unknown network lie, and CONTENT_DEPTH its content."""
CONTENT_DEPTH = 0.65


class Default(NamedTuple):
    """What to compare in a network: of content the first layer that it has, of style all that it has.

    style_weight: how much more the style counts than the content.
    """

    content: tuple[str, ...]
    style: Mapping[str, float]
    style_weight: float = 1000.0


DEFAULTS = {
    "vgg19": Default(
        ("relu4_2", "relu3_2", "relu3_1", "relu2_2"),
        dict.fromkeys(("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"), 1.0),
        1500.0,
    ),
    "squeezenet1_1": Default(
        ("fire5",),
        dict.fromkeys(("relu_conv1", "fire2", "fire3", "fire5", "fire7"), 1.0),
        100.0,
    ),
    "googlenet": Default(
        ("inception_3b",),
        dict.fromkeys(
            ("relu_conv1_7x7_s2", "relu_conv2_3x3", "inception_3a", "inception_3b", "inception_4a", "inception_4c"), 1.0
        ),
        15.0,
    ),
}
"""By meta["architecture"]; chosen by looking at pictures of all of them. Layers of VGG-19: Gatys et al. 2015."""


def default_layers(network: Network, required: bool = True) -> Default:
    """What suits a network: of those in DEFAULTS what was tried out; of others rectifiers, spread evenly over depth.

    Raises SettingError for a network that rectifies nothing; if they are not required, there are no layers then.
    """
    nodes = {node.name for node in network.nodes}
    tried_out = DEFAULTS.get(str(network.meta.get("architecture")))
    if tried_out is not None:
        content = tuple(name for name in tried_out.content if name in nodes)
        style = {name: weight for name, weight in tried_out.style.items() if name in nodes}
        if content and style:
            return Default(content[:1], style, tried_out.style_weight)
    rectifiers = spatial_rectifiers(network)
    if not rectifiers and not required:
        return Default((), {})
    if not rectifiers:
        names = ", ".join(node.name for node in network.nodes)
        raise SettingError(f"say which layers have content and style, content_layers=… and style_layers=…, of {names}")
    style = dict.fromkeys((at_depth(rectifiers, depth) for depth in AUTOMATIC), 1.0)
    return Default((at_depth(rectifiers, CONTENT_DEPTH),), style)


def weights_of(layers: LayerWeights, network: Network, title: str) -> dict[str, float]:
    """Weights by node that add up to 1.

    Raises GraphError for unknown nodes, with near names, SettingError for no layers and weights that are not above 0.
    """
    by_node = {layers: 1.0} if isinstance(layers, str) else layers
    if not isinstance(by_node, Mapping | Sequence):
        raise SettingError(f"{title}: expected a node, several, or weights by node, came {by_node!r}")
    pairs = by_node.items() if isinstance(by_node, Mapping) else ((name, 1.0) for name in by_node)
    weights = {str(name): float(weight) for name, weight in pairs}
    names = [node.name for node in network.nodes if node.block.output_count == 1]
    for name, weight in weights.items():
        if name not in names:
            raise GraphError(no_such("layer", name, names))
        if not 0 < weight < float("inf"):
            raise SettingError(f"the weights of {title} must be above 0, came {weight:g} for {name!r}")
    if not weights:
        raise SettingError(f"{title} names no layer; there are {', '.join(names)}")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
