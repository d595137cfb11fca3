"""Arguments of an operator: by name, as handlers take them, as numbers, and as an Opaque block takes them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Flow, Graph, Known, Value
from blockprop.importers.symbols import Symbol
from blockprop.importers.torch.naming import place_of
from blockprop.interop.opaque import Opaque

_UNIMPORTANT = {
    "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "generator", "inplace", "sparse", "path",
    "scale_grad_by_freq", "padding_idx", "benchmark", "deterministic", "cudnn_enabled", "allow_tf32", "sparse_grad",
}  # fmt: skip


ARRANGING = ("cat", "stack", "expand", "repeat", "clone", "flip", "roll", "index_select", "add", "sub", "detach")
"""Operators besides views whose blocks are right for complex numbers, too."""


def bound(schema: Any, args: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name, defaults among them."""
    defaults = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    positional = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)}
    ordered = defaults | positional | dict(keywords)
    return {argument.name: ordered[argument.name] for argument in schema.arguments}


def accepted(handler: Callable[..., Any], schema: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the handler takes; UnsupportedError if it lacks one that matters."""
    code: Any = handler.__code__
    names = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    takes_all = bool(code.co_flags & 0x08)
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    kept = {}
    needed = set(code.co_varnames[1 : code.co_argcount - len(handler.__defaults__ or ())])
    if lacking := needed - given.keys():
        raise UnsupportedError(f"this form of it, without {', '.join(sorted(lacking))}")
    for name, value in given.items():
        if name in names or (takes_all and name not in _UNIMPORTANT):
            kept[name] = value
        elif name == "out":
            raise UnsupportedError("writing into a tensor given as out=; take what the function returns without it")
        elif name not in _UNIMPORTANT and not (name in defaults and _equal(defaults[name], value)):
            shown = (
                f"a tensor of {' x '.join(map(str, value.shape))}" if isinstance(value, Flow | Known) else repr(value)
            )
            raise UnsupportedError(f"its setting {name}={shown} has no block")
    return kept


def _equal(a: Any, b: Any) -> bool:
    return a is b or (not isinstance(b, Flow | Known | Symbol) and bool(a == b))


def computed(node: fx.Node, target: Any, given: dict[str, Any]) -> Any:
    """What the operator gives for known tensors. GraphError if it refuses them."""

    def known(value: Any) -> Any:
        if isinstance(value, Known):
            return value.tensor.detach().clone()
        return value.known if isinstance(value, Flow) else value

    try:
        with torch.no_grad():
            return target(**pytree.tree_map(known, given))
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        raise GraphError(
            f"{node.name} ({target}, {place_of(node)}) refuses the constants it is given: {why}"
        ) from error


def opaque_block(target: Any, given: dict[str, Any], graph: Graph, val: Any) -> tuple[Opaque, list[Value]]:
    """The operator as an Opaque block, and its operands. What has its default is left out."""
    name = target._schema.name.split("::")[1]
    if name.endswith("_"):  # what would change its operand gives a new tensor here
        target = getattr(getattr(torch.ops.aten, name.rstrip("_")), target._overloadname)
    operands: list[Value] = [leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Flow | Known)]
    places = itertools.count()
    _, others = graph.formulas([leaf for leaf in pytree.tree_leaves(given) if isinstance(leaf, Symbol)], *operands)

    def plain(value: Any) -> Any:
        if isinstance(value, Flow | Known):
            return {"input": next(places)}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, Symbol):
            return {"size": graph.formulas([value], *operands, *others)[0][0]}
        return tuple(plain(leaf) for leaf in value) if isinstance(value, list | tuple) else value

    schema = target._schema
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named = {
        name: plain(value)
        for name, value in given.items()
        if not (name in defaults and _equal(defaults[name], value)) and name not in _UNIMPORTANT
    }
    leading = list(itertools.takewhile(lambda a: a.name in named and not a.kwarg_only, schema.arguments))
    positional = tuple(named.pop(argument.name) for argument in leading)
    count = len(val) if isinstance(val, tuple | list) else 1
    return Opaque(str(target), positional, named, count), [*operands, *others]


def has_complex(node: fx.Node, operands: Sequence[Flow | Known]) -> bool:
    """Whether complex numbers go in or come out: most derivatives would have to be conjugated."""
    results = pytree.tree_leaves(node.meta.get("val"))
    return any(x.dtype.is_complex for x in [*operands, *(x for x in results if isinstance(x, Tensor))])
