"""A copy of the user's module to work with, so that the module itself is never touched; and running it."""

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils import _pytree as pytree

from blockprop.errors import SettingError, ShapeError, shape
from blockprop.importers.torch.copying import emptied, independent, stores_of, without_numbers
from blockprop.importers.torch.outside import CONTAINERS, StateOutside, refill


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


class Twin:
    """The user's module as it is imported, which itself is never run: each run and each export has a copy of its own.

    training: whether in training mode; where that is not said and matters, SettingError
    """

    def __init__(self, module: nn.Module, training: bool | None):
        if training is None:
            _require_evaluation(module)
        self.title = type(module).__name__
        self._shared: dict[int, Tensor] = {id(parameter): parameter for parameter in module.parameters()}
        self._copies: list[Tensor] | None = None
        self._outside, self._is_emptied = StateOutside(module), False
        try:
            self._module = independent(module, self._shared)
        except Exception as error:
            raise SettingError(f"{self.title} cannot be copied ({error})") from error
        for part in self._module.modules():
            part._backward_hooks.clear()
            part._backward_pre_hooks.clear()
        if not (training and any(part.training for part in module.modules())):  # else parts in evaluation stay so
            self._module.train(bool(training))
        self.hooks = _hooks_of(self._module)
        """Names of the parts that call hooks of the user's, or of a library's."""
        self._trials: dict[bool, nn.Module] = {}
        """Copies to try, with numbers and without."""

    def parts(self) -> dict[str, nn.Module]:
        """The parts by name."""
        return dict(self._module.named_modules())

    @contextmanager
    def fresh(self, numbers: bool = True) -> Iterator[nn.Module]:
        """A copy as the module was in the beginning, to run or export; it has the user's own parameters, not to be
        written to. What it leaves outside of itself is put back.

        numbers: False for one whose tensors have sizes only
        """
        with self._outside.restored(self._is_emptied):
            copied = independent(self._module, self._shared) if numbers else without_numbers(self._module)
            for part in copied.modules():
                _registering_plainly(part)
                if isinstance(part, _BatchNorm) and part.momentum is None:
                    part.momentum = count_as_momentum(part)
            yield copied

    @contextmanager
    def tried(self, numbers: bool = True) -> Iterator[nn.Module]:
        """As `fresh`, for runs that nothing is kept of: the same copy again, with what it has kept taken out."""
        if numbers not in self._trials:
            with self.fresh(numbers) as module:
                self._trials[numbers] = module
        module = self._trials[numbers]
        kept = _containers_of(module)
        try:
            with self._outside.restored(self._is_emptied):
                yield module
        finally:
            refill(kept)

    def without_hooks(self) -> "Twin":
        """The same, but that no hooks are called."""
        other = copy.copy(self)
        other._module, other.hooks, other._trials = independent(self._module, self._shared), [], {}
        _drop_hooks(other._module)
        return other

    def emptied(self) -> "Twin | None":
        """The same with what it may keep from earlier calls taken out; None if it keeps nothing."""
        if not stores_of(self._module) and not self._outside.holds_tensors:
            return None
        other = copy.copy(self)
        other._module, other._is_emptied, other._trials = independent(self._module, self._shared), True, {}
        emptied(stores_of(other._module))
        return other

    def outputs(self, inputs: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
        """What the module gives, all tensors of it in order; ShapeError if it refuses the inputs, or gives none.

        names: of the last inputs, which it takes as keywords. Copies run, since a module may write into what it has.
        """
        count = len(inputs) - len(names)
        copies = [x.clone() for x in inputs]
        try:
            with self._outside.restored(self._is_emptied):
                module = independent(self._module, self._own())
                result = module(*copies[:count], **dict(zip(names, copies[count:], strict=True)))
        except Exception as error:
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            shapes = " and ".join(f"{shape(x)} {str(x.dtype).removeprefix('torch.')}" for x in inputs)
            raise ShapeError(f"{self.title} refuses the example of {shapes} ({reason})") from error
        outputs = [y for y in pytree.tree_leaves(result) if isinstance(y, Tensor)]
        if not outputs:
            raise SettingError(f"{self.title} gives no tensor, but a {type(result).__name__}")
        return outputs

    def _own(self) -> dict[int, Tensor]:
        """Copies of the parameters by the ids of these, for runs that may write into them: new ones if one has."""
        originals = self._shared.values()
        if self._copies is None or not all(map(torch.equal, originals, self._copies)):
            self._copies = [copy.deepcopy(parameter) for parameter in originals]
        return dict(zip(self._shared, self._copies, strict=True))


def settled(twin: Twin, inputs: Sequence[Tensor], names: Sequence[str]) -> tuple[Twin, list[Tensor], str]:
    """(the twin to import, what the module gives for the inputs, what has to be said about it).

    Hooks are followed where they change what the module gives. What the module keeps from earlier calls is taken out
    where it gives the same without: it may be computed from weights, or hold for one size alone.
    """
    words = ""
    if twin.hooks:
        bare = twin.without_hooks()
        try:
            expected = twin.outputs(inputs, names)
        except ShapeError as error:
            expected = bare.outputs(inputs, names)
            words = f"imported without the hooks of {', '.join(twin.hooks[:5])}: with them {error}"
        if words or _gives(bare, inputs, names, expected):
            twin = bare
    else:
        expected = twin.outputs(inputs, names)
    emptied = twin.emptied()
    if emptied is not None and _gives(emptied, inputs, names, expected):
        twin = emptied
    return twin, expected, words


def _gives(twin: Twin, inputs: Sequence[Tensor], names: Sequence[str], expected: Sequence[Tensor]) -> bool:
    try:
        outputs = twin.outputs(inputs, names)
    except (ShapeError, SettingError):
        return False
    return len(outputs) == len(expected) and all(
        a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, equal_nan=True)
        for a, b in zip(outputs, expected, strict=True)
    )


def _require_evaluation(module: nn.Module) -> None:
    parts = module.named_modules()
    in_training = [name or type(part).__name__ for name, part in parts if part.training and _has_mode(part)]
    if in_training:
        some = ", ".join(in_training[:3]) + ", …" * (len(in_training) > 3)
        raise SettingError(
            f"{type(module).__name__} is in training mode ({some}): call its eval() first or pass training=False to "
            "import it as it is in evaluation; pass training=True to import what it does in training"
        )


def count_as_momentum(part: _BatchNorm) -> float:
    """−1 − how many batches its running statistics are the mean of: torch.export cannot read how it counts them."""
    return -1.0 - int(part.num_batches_tracked or 0)


def _containers_of(module: nn.Module) -> list[tuple[Any, Any]]:
    """In what the module keeps something, each with a copy: the attributes of its parts, and containers in them."""
    spaces: list[Any] = [vars(part) for part in module.modules()]
    containers = [value for space in spaces for value in space.values() if type(value) in CONTAINERS]
    return [(value, value.copy()) for value in (*spaces, *containers)]


def _registering_plainly(part: nn.Module) -> None:
    """Make buffers that the part registers while it runs plain ones: torch.export would write them into an input."""
    for name in [name for name, buffer in part._buffers.items() if buffer is None]:
        del part._buffers[name]
        vars(part)[name] = None
    register = part.register_buffer

    def plainly(name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        if name in part._buffers:
            register(name, tensor, persistent)
        else:
            vars(part)[name] = tensor

    vars(part)["register_buffer"] = plainly


def _hooks_of(module: nn.Module) -> list[str]:
    return [
        name or type(part).__name__
        for name, part in module.named_modules()
        if part._forward_hooks or any(not _computes_weights(hook) for hook in part._forward_pre_hooks.values())
    ]


def _drop_hooks(module: nn.Module) -> None:
    for part in module.modules():
        part._forward_hooks.clear()
        for key, hook in list(part._forward_pre_hooks.items()):
            if not _computes_weights(hook):
                del part._forward_pre_hooks[key]


def _computes_weights(hook: Any) -> bool:
    """Whether it is one of torch's own, which compute weights: weight_norm, pruning."""
    return type(hook).__module__.startswith("torch.nn.utils")


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
