"""A copy of the user's module to work with, so that the module itself is never touched; and running it."""

import copy
import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from blockprop.errors import SettingError, ShapeError, shape


def inputs_of(module: nn.Module, example: Tensor | Sequence[Tensor], keywords: Mapping[str, Tensor]) -> list[Tensor]:
    """The example's tensors, those of the keywords last, as copies. SettingError for what is none."""
    if not isinstance(module, nn.Module):
        raise SettingError(f"expected a torch.nn.Module, came a {type(module).__name__}")
    if not isinstance(example, Tensor | list | tuple):
        raise SettingError(f"expected a tensor or several as the example, came a {type(example).__name__}")
    positional = [example] if isinstance(example, Tensor) else list(example)
    for x in (*positional, *keywords.values()):
        if not isinstance(x, Tensor):
            raise SettingError(f"expected a tensor or several as the example, came a {type(x).__name__}")
    if not positional and not keywords:
        raise SettingError("expected an example input of the module, came none")
    return [x.detach().clone() for x in (*positional, *keywords.values())]


def twin_of(module: nn.Module, training: bool | None) -> nn.Module:
    """Another module with the same parameters, in the wanted mode, which calls none of the user's hooks."""
    parts = module.named_modules()
    in_training = [name or type(part).__name__ for name, part in parts if part.training and _has_mode(part)]
    if training is None and in_training:
        some = ", ".join(in_training[:3]) + ", …" * (len(in_training) > 3)
        raise SettingError(
            f"{type(module).__name__} is in training mode ({some}): call its eval() first or pass training=False to "
            "import it as it is in evaluation; pass training=True to import what it does in training"
        )
    try:
        twin = copy.deepcopy(module, _shared(module))
    except Exception as error:
        raise SettingError(f"{type(module).__name__} cannot be copied ({error})") from error
    for part in twin.modules():
        for hooks in (part._forward_hooks, part._backward_hooks, part._backward_pre_hooks):
            hooks.clear()
        for key, hook in list(part._forward_pre_hooks.items()):
            if not type(hook).__module__.startswith("torch.nn.utils"):  # those compute weights: weight_norm, pruning
                del part._forward_pre_hooks[key]
    if training and any(part.training for part in module.modules()):
        return twin  # parts that stay in evaluation mode do so
    return twin.train(bool(training))


def _shared(module: nn.Module) -> dict[int, object]:
    """What the copy shall have, for deepcopy: the parameters themselves, since they may be large, and are only read."""
    kept: dict[int, object] = {id(parameter): parameter for parameter in module.parameters()}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, Tensor) and not value.is_leaf:  # which deepcopy refuses
                kept[id(value)] = value.detach().clone()
    return kept


def _has_mode(part: nn.Module) -> bool:
    """Whether the module itself does something else in training: by its type, or because its code asks."""
    if isinstance(part, _BatchNorm):
        return part.track_running_stats
    if isinstance(part, _DropoutNd):
        return part.p > 0
    if type(part).__module__.startswith("torch.nn"):
        return getattr(part, "dropout", 0) not in (0, 0.0)
    kinds = [kind for kind in type(part).__mro__ if issubclass(kind, nn.Module) and kind is not nn.Module]
    methods = [method for kind in kinds for method in vars(kind).values() if inspect.isfunction(method)]
    return any("training" in method.__code__.co_names for method in methods)


def outputs_of(twin: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    """What the module gives, all tensors of it in order; ShapeError if it refuses the inputs, or gives none.

    names: of the last inputs, which it takes as keywords. Copies run, since a module may write into what it has.
    """
    count = len(inputs) - len(names)
    copies = [x.clone() for x in inputs]
    try:
        result = copy.deepcopy(twin)(*copies[:count], **dict(zip(names, copies[count:], strict=True)))
    except Exception as error:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        shapes = " and ".join(f"{shape(x)} {str(x.dtype).removeprefix('torch.')}" for x in inputs)
        raise ShapeError(f"{type(twin).__name__} refuses the example of {shapes} ({reason})") from error
    outputs = [y for y in torch.utils._pytree.tree_leaves(result) if isinstance(y, Tensor)]
    if not outputs:
        raise SettingError(f"{type(twin).__name__} gives no tensor, but a {type(result).__name__}")
    return outputs
