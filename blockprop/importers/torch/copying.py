"""A copy of a user's module that shares nothing with it but its parameters, whatever the module keeps, and wherever.

copy.deepcopy alone stops at tensors that autograd has computed, and leaves functions as they are: a hook or a lambda
that holds the module, or a list of its own, would go on to work on the user's.
"""

import copy
import functools
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

DEEPEST = 4
"""How far into containers functions are looked for."""


def independent(module: nn.Module, known: Mapping[int, Tensor] = MappingProxyType({})) -> nn.Module:
    """A copy. Raises what deepcopy raises if it cannot be copied.

    known: what to take in place of tensors, by their ids; themselves, for instance, to have them in common
    """
    return _independent(module, known, _detaching())


def copied(value: Any, memo: dict[int, Any]) -> Any:
    """A copy of what holds tensors; itself where it cannot be copied.   memo: as deepcopy's"""
    try:
        with _detaching():
            return copy.deepcopy(value, memo)
    except Exception:
        return value


def without_numbers(module: nn.Module) -> nn.Module:
    """A copy whose tensors have sizes only: on the "meta" device. Raises what deepcopy raises."""
    bare = {id(p): nn.Parameter(p.detach().to("meta"), p.is_floating_point()) for p in module.parameters()}
    return _independent(module, bare, _Copying(lambda _: True, lambda x: x.to("meta")))


class _Copying(TorchFunctionMode):
    """Inside, deepcopy has a way of its own for some tensors.

    is_special: for which   copied: what it makes of their numbers
    """

    def __init__(self, is_special: Callable[[Tensor], bool], copied: Callable[[Tensor], Tensor]):
        super().__init__()
        self.is_special, self.copied = is_special, copied

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__ and self.is_special(args[0]):
            x, memo = args
            memo[id(x)] = self.copied(x.detach())
            return memo[id(x)]
        return func(*args, **(kwargs or {}))


def _detaching() -> _Copying:
    """Inside, deepcopy takes tensors that autograd has computed, too."""
    return _Copying(lambda x: not x.is_leaf, torch.clone)


def _independent(module: nn.Module, known: Mapping[int, Any], mode: _Copying) -> nn.Module:
    try:
        return _copied(module, dict(known), mode)
    except Exception:
        stuck = {id(value): value for value in _without_copies(module, known)}
        return _copied(module, {**known, **stuck}, mode)


def _copied(module: nn.Module, memo: dict[int, Any], mode: _Copying) -> nn.Module:
    with mode:
        cells = _rebound(module, memo)
        twin = copy.deepcopy(module, memo)
        for cell, new in cells:
            new.cell_contents = _copy_or_itself(cell.cell_contents, memo)
    for part in twin.modules():
        for name, value in list(vars(part).items()):
            vars(part)[name] = _redirected(value, memo)
    modes = {name: part.training for name, part in module.named_modules()}
    if twin.training != module.training:  # a module that makes its copy anew, as torch.fx does
        twin.train(module.training)
    for name, part in twin.named_modules():
        part.training = modes.get(name, part.training)
    return twin


def _rebound(module: nn.Module, memo: dict[int, Any]) -> list[tuple[Any, Any]]:
    """Enter other functions into the memo for those that hold something: the cells of what they hold, old and new."""
    pairs: list[tuple[Any, Any]] = []
    for function in functions_in(module):
        if not function.__closure__:
            continue
        cells = [(cell, types.CellType()) for cell in function.__closure__]
        pairs += [pair for pair in cells if pair[0] != types.CellType()]
        new = types.FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            tuple(c for _, c in cells),
        )
        new.__kwdefaults__ = function.__kwdefaults__
        new.__dict__.update(function.__dict__)
        memo[id(function)] = new
    return pairs


def functions_in(module: nn.Module) -> list[types.FunctionType]:
    """The functions among what the module's parts keep, hooks for instance, and among what those functions hold."""
    found: dict[int, types.FunctionType] = {}
    pending = [(value, 0) for part in module.modules() for value in vars(part).values()]
    seen: set[int] = set()
    while pending:
        value, depth = pending.pop()
        if id(value) in seen or depth > DEEPEST:
            continue
        seen.add(id(value))
        if isinstance(value, types.FunctionType):
            found[id(value)] = value
        pending += [(inner, depth + 1) for inner in _held_by(value)]
    return list(found.values())


def _held_by(value: Any) -> list[Any]:
    """What functions, partial functions, methods and containers have in them."""
    if isinstance(value, types.FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set) else []


def _redirected(value: Any, memo: Mapping[int, Any]) -> Any:
    """A method or a weak reference of the copy's, where deepcopy has left one of the module's."""
    if isinstance(value, types.MethodType) and id(value.__func__) in memo:
        return types.MethodType(memo[id(value.__func__)], value.__self__)
    if isinstance(value, weakref.ref) and id(value()) in memo:
        return weakref.ref(memo[id(value())])
    return value


def _without_copies(module: nn.Module, kept: Mapping[int, Any]) -> list[Any]:
    """What the parts keep and nothing can copy: locks, open files, streams. The twin takes the same."""
    values = [value for part in module.modules() for name, value in vars(part).items() if name != "_modules"]
    stuck = []
    with _detaching():
        for value in values:
            try:
                copy.deepcopy(value, dict(kept))
            except Exception:
                stuck.append(value)
    return stuck


def _copy_or_itself(value: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # a stream, a lock: what cannot be copied is no place to collect tensors in
        return value


def stores_of(module: nn.Module) -> list[tuple[nn.Module, str]]:
    """(part, attribute) of what may be a store of tensors from one call to the next: dicts and lists of tensors,
    tensors that are neither parameter nor buffer, and buffers that are not saved.
    """
    places = []
    for part in module.modules():
        names = [name for name, value in vars(part).items() if name not in _OF_TORCH and is_store(value)]
        unsaved = [name for name in part._non_persistent_buffers_set if part._buffers.get(name) is not None]
        places += [(part, name) for name in (*names, *unsaved)]
    return places


def emptied(places: Iterable[tuple[nn.Module, str]]) -> None:
    """Take the tensors out of these places, as before the first call."""
    for part, name in places:
        value = getattr(part, name)
        if isinstance(value, dict | list):
            value.clear()
        else:
            setattr(part, name, None)


_OF_TORCH = frozenset(vars(nn.Module()))
"""What torch itself keeps in each module."""


def is_store(value: Any) -> bool:
    """Whether it is a tensor, but no parameter, or a dict or list of such."""
    leaves = pytree.tree_leaves(value) if isinstance(value, dict | list) else [value]
    return bool(leaves) and all(isinstance(leaf, Tensor) and not isinstance(leaf, nn.Parameter) for leaf in leaves)
