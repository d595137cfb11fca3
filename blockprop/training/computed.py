"""Weights that the module a network came from computes from others."""

import warnings
from collections.abc import Collection

from blockprop.engine.network import Network
from blockprop.errors import BlockpropWarning


def say_what_was_computed(network: Network, trained: Collection[str]) -> None:
    """The module that the network came from trains other weights than these: weight_norm's g and v, for instance."""
    computed = sorted(set(network.meta.get("computed", ())) & set(trained))
    if computed:
        some = ", ".join(computed[:5]) + ", …" * (len(computed) > 5)
        warnings.warn(
            f"{some}: computed from other weights by the module that was imported; here they are trained themselves, "
            "which goes another way than training the module",
            BlockpropWarning,
            stacklevel=3,
        )
    titles = network.meta.get("parameter_names", {})
    for weight in network.meta.get("untied", ()):
        apart = [name for name in trained if titles.get(name, name) == weight]
        if len(apart) > 1:
            warnings.warn(
                f"{', '.join(apart)}: one weight, {weight}, in the model that was imported; here trained apart",
                BlockpropWarning,
                stacklevel=3,
            )
