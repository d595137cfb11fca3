"""torch.nn.Module -> Network, through torch.export: every operator that the module runs becomes a node."""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from blockprop.engine.network import Network


def from_torch(
    module: nn.Module,
    example: Tensor | Sequence[Tensor],
    keywords: Mapping[str, Tensor] | None = None,
    *,
    training: bool | None = None,
    opaque: bool = False,
    free: bool = True,
) -> Network:
    """The network of blocks that computes what the module computes; the module stays as it is.

    One node for each call of an operator, however it is written: nn.ReLU, F.relu, x.relu_() and x.clamp(min=0) all
    give a ReLU. Nodes are named after the module's parts: "layer1.0.relu", "layer1.0.relu#2" for the second call.
    Outputs are those of the module in their order, taken out of whatever tuples and dicts it puts them in.

    Weights are copied; all of them are parameters of the network, frozen ones, too. What is computed from weights alone
    and then held by a block, as by weight_norm, is worked out now. Forward hooks are followed where they change what
    the module gives; they see nothing of the import. What the module keeps from earlier calls is computed anew, where
    it gives the same. network.meta says more:
    "free": which axes of which input may have any size   "parameter_names": what the module calls a parameter that has
    another name here   "computed": parameters that the module computes from others   "frozen": those that it does not
    train   "untied": its parameters that became several, because blocks of different kinds hold them   "notes": axes
    that the module lets vary, and the network does not, with the operator and the line that fix them; each is warned of

    example: an input, or several, as the module takes them; keywords: those that it takes by name.
    training: needed if a part of the module is in training mode. False imports it as in evaluation mode, True as in
        training (a branch for training only, for instance). Either way dropout and batch normalization act in `fit`.
    opaque: make operators without a block into Opaque blocks, whose backward pass is torch's own; a warning lists them.
    free: whether to look for axes that may vary; without, all sizes are those of the example.
    Raises UnsupportedError listing every operator without a block, ShapeError if the module refuses the example,
    SettingError for a module in training mode, and for one that torch.export cannot read.
    """
    # Late, because importing torch.export's ways takes a tenth of a second.
    from blockprop.importers.torch.alone import alone
    from blockprop.importers.torch.importing import imported
    from blockprop.importers.torch.other_mode import require_right
    from blockprop.importers.torch.twin import inputs_of

    names = list(keywords or {})
    with torch.inference_mode(False), torch.no_grad():
        inputs = inputs_of(module, example, keywords or {})
    require_right(module)
    network, opaque_names, words = alone(lambda: imported(module, training, inputs, names, opaque, free))
    for note in [*([words] if words else []), *network.meta.get("notes", [])]:
        warnings.warn(note, stacklevel=2)
    if opaque_names:
        warnings.warn(f"opaque, with torch's own backward pass: {', '.join(opaque_names)}", stacklevel=2)
    return network
