"""Walk the graph that torch.export made of a module, and add blocks for its operators."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from blockprop import blocks
from blockprop.errors import BlockpropError, GraphError
from blockprop.importers.aten import ATEN
from blockprop.importers.aten.views import VIEWS, Cell
from blockprop.importers.calls import Call
from blockprop.importers.graph import Flow, Graph, Known, UnsupportedError, Value
from blockprop.importers.problems import Problem
from blockprop.importers.symbols import Symbol
from blockprop.interop import Opaque

_IGNORED = {
    "_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size",
}  # fmt: skip
_UNIMPORTANT = {
    "layout", "device", "pin_memory", "memory_format", "non_blocking", "copy", "generator", "inplace", "sparse", "path",
    "scale_grad_by_freq", "padding_idx", "benchmark", "deterministic", "cudnn_enabled", "allow_tf32", "sparse_grad",
}  # fmt: skip
_NAMELESS = {"sym_size", "getitem", "zeros", "contiguous", "detach", "alias", "clone", *_IGNORED}
_MISSING: Any = object()
"""Stands for what an unsupported operator would have given, so that the walk can go on and find all of them."""


class Interpreter:
    """One walk over the operators of a module.

    values: what the graph's placeholders stand for   paths: names of modules without children   opaque: whether an
    operator without a block becomes an Opaque block
    """

    def __init__(self, graph: Graph, leaves: set[str], opaque: bool):
        self.graph, self.leaves, self.opaque = graph, leaves, opaque
        self.problems: list[Problem] = []
        self.opaque_names: list[str] = []

    def run(self, program: fx.Graph, values: list[Any], detached: bool = False) -> list[Any]:
        """The values that the graph gives for these values of its placeholders."""
        cells: dict[fx.Node, Any] = {}
        given = iter(values)
        self._names = _Names(program, self.leaves)
        for node in program.nodes:
            if node.op == "placeholder":
                value = next(given)
                cells[node] = value if isinstance(value, Cell) else Cell(value)
            elif node.op == "get_attr":
                cells[node] = Cell(_attribute(program.owning_module, node.target))
            elif node.op == "output":
                return [
                    cells[each].read() if isinstance(each, fx.Node) else each
                    for each in pytree.tree_leaves(node.args[0])
                ]
            else:
                self._visit(node, cells)
        return []

    # One node ---------------------------------------------------------------------------------------------------------

    def _visit(self, node: fx.Node, cells: dict[fx.Node, Any]) -> None:
        target: Any = node.target
        read = pytree.tree_map(lambda a: cells[a].read() if isinstance(a, fx.Node) else a, (node.args, node.kwargs))
        missing = any(each is _MISSING for each in pytree.tree_leaves(read))
        if isinstance(target, torch._ops.OpOverload):
            if target._schema.name.split("::")[1] in _IGNORED:
                return
            if missing and self._handler(target):
                cells[node] = Cell(_MISSING)
            else:
                self._operator(node, target, read, cells)
        elif isinstance(target, torch._ops.HigherOrderOperator):
            cells[node] = Cell(_MISSING if missing else self._region(node, target, *read[0]))
        else:
            cells[node] = Cell(_MISSING if missing else self._python(node, target, *read[0]))

    def _python(self, node: fx.Node, target: Callable[..., Any], *given: Any) -> Any:
        """Arithmetic with sizes, and taking one of several outputs."""
        if not any(isinstance(each, Symbol) for each in given):
            return target(*given)
        if target.__name__ in ("ge", "le", "gt", "lt", "eq", "ne"):  # what torch.export only asserts
            return target(*(each.trials[0] if isinstance(each, Symbol) else each for each in given))
        if target.__name__ in ("sym_max", "sym_min", "sym_float", "truediv", "pow"):
            self._note(node, target.__name__, "arithmetic of this kind with a free size")
            return _MISSING
        return target(*given)

    def _region(self, node: fx.Node, target: Any, *given: Any) -> Any:
        """The operators under a `with torch.no_grad()`, or under autocast, of the module."""
        if target.__name__ == "wrap_with_set_grad_enabled":
            enabled, body, *values = given
        elif target.__name__ == "wrap_with_autocast":
            _, _, _, _, body, *values = given
            enabled = True
        else:
            self._note(node, str(target), "control flow inside the network")
            return _MISSING
        inner = Interpreter(self.graph, self.leaves, self.opaque)
        found = inner.run(body.graph, values)
        self.problems += inner.problems
        self.opaque_names += inner.opaque_names
        if enabled:
            return found
        return [
            self.graph.add(f"{each.key}.detach", blocks.Detach(), each) if isinstance(each, Flow) else each
            for each in found
        ]

    def _operator(self, node: fx.Node, target: Any, read: Any, cells: dict[fx.Node, Any]) -> None:
        schema = target._schema
        given = _bound(schema, *read)
        written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        name = schema.name.split("::")[1]
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        value = self._converted(node, target, given, bool(written))
        if written and first is not None:
            if value is not _MISSING:
                cells[first].write(value)
            cells[node] = cells[first]
        elif first is not None and name in VIEWS and _shares_memory(node, first) and value is not _MISSING:
            cells[node] = Cell(
                value,
                cells[first],
                lambda base: self._converted(node, target, given | {_first(schema): base}, False),
                lambda base, new: VIEWS[name](self._call(node, target, {}), base, new, given),
            )
        else:
            cells[node] = Cell(value)

    def _converted(self, node: fx.Node, target: Any, given: dict[str, Any], in_place: bool) -> Any:
        """What the operator gives: computed now if it is constant, else by new nodes of the graph."""
        tensors = [each for each in pytree.tree_leaves(given) if isinstance(each, Flow | Known)]
        symbols = any(isinstance(each, Symbol) for each in pytree.tree_leaves(given))
        known = None
        if tensors and not symbols and all(isinstance(t, Known) or t.known is not None for t in tensors):
            known = _computed(target, given)
            if all(isinstance(t, Known) and not t.trained for t in tensors):
                return pytree.tree_map(Known, known) if isinstance(known, list | tuple) else Known(known)
        if not tensors and not symbols and all(r.type.kind() == "TensorType" for r in target._schema.returns):
            with torch.no_grad():
                return Known(target(**given))
        call = self._call(node, target, given)
        call.known = known if isinstance(known, Tensor) else None
        try:
            handler = self._handler(target)
            if handler is None and call.known is not None:  # a weight computed from weights: worked out once, here
                return Known(call.known, call.name, trained=True)
            if handler is None:
                raise UnsupportedError("it has no block")
            return handler(call, **_accepted(handler, target._schema, given))
        except UnsupportedError as error:
            return self._opaque(node, target, given, call, str(error))
        except (BlockpropError, RuntimeError, TypeError, IndexError) as error:
            raise GraphError(
                f"{call.name} ({call.operator}{', ' + call.where if call.where else ''}): {error}"
            ) from error

    def _opaque(self, node: fx.Node, target: Any, given: dict[str, Any], call: Call, why: str) -> Any:
        if self.opaque:
            try:
                block, operands = opaque_block(target, given, self.graph)
                self.opaque_names.append(call.name)
                return call.add(block, *operands)
            except (BlockpropError, RuntimeError, TypeError) as error:
                why = f"{why}, and cannot be opaque: {error}"
        self._note(node, call.operator, why)
        return _MISSING

    # Names ------------------------------------------------------------------------------------------------------------

    def _handler(self, target: Any) -> Any:
        name = target._schema.name.split("::")[1]
        if target.namespace != "aten":
            return None
        return ATEN.get(name) or ATEN.get(name.rstrip("_"))

    def _call(self, node: fx.Node, target: Any, given: Mapping[str, Any]) -> Call:
        weights = [each.name for each in given.values() if isinstance(each, Known) and each.name]
        return Call(self.graph, self._names.of(node, weights), str(target), _place(node))

    def _note(self, node: fx.Node, operator: str, why: str) -> None:
        self.problems.append(Problem(self._names.of(node, []), operator, why, _place(node)))


class _Names:
    """Names of nodes by the path of the module that calls the operator."""

    def __init__(self, program: fx.Graph, leaves: set[str]):
        self._leaves = leaves
        self._counts = Counter(_stack(node) for node in program.nodes if _operator_name(node) not in _NAMELESS)

    def of(self, node: fx.Node, weights: list[str]) -> str:
        """ "layer1.0.relu" for a module's only operator or the one that has its weights, else "layer1.0.add"."""
        key, path = _stack(node), _path(_stack(node))
        for weight in weights:
            owner = re.sub(r"[._]?(weight|weight_ih_l0|running_mean)$", "", weight)
            if owner != weight and (owner == path or owner.startswith(f"{path}." if path else "")):
                return owner
        if path in self._leaves and self._counts[key] == 1:
            return path
        name = _operator_name(node).strip("_")
        return f"{path}.{name}" if path else name


def _operator_name(node: fx.Node) -> str:
    if node.op != "call_function":
        return "getitem"
    target: Any = node.target
    return target._schema.name.split("::")[1] if hasattr(target, "_schema") else target.__name__


def _stack(node: fx.Node) -> str:
    """The innermost module's call: its path, with "@1" and so on for further calls."""
    stack = node.meta.get("nn_module_stack") or {}
    last = list(stack.items())[-1:]
    return last[0][0].rsplit("__", 1)[-1] + "|" + last[0][1][0] + _call_number(last[0]) if last else "|"


def _call_number(entry: Any) -> str:
    found = re.search(r"@\d+$", entry[0])
    return found.group() if found else ""


def _path(stack: str) -> str:
    path = re.sub(r"@\d+", "", stack.split("|")[1])
    return "" if path.startswith("_empty") else path.removeprefix("L['self'].").removeprefix("L['self']")


def _place(node: fx.Node) -> str:
    """The source line of the module: file:line and its text."""
    lines = (node.meta.get("stack_trace") or "").rstrip().splitlines()
    for i in range(len(lines) - 1, -1, -1):
        if found := re.match(r'\s*File "(.+)", line (\d+)', lines[i]):
            text = lines[i + 1].strip() if i + 1 < len(lines) else ""
            return f"{found[1]}:{found[2]} `{text}`"
    return ""


# Arguments ------------------------------------------------------------------------------------------------------------


def _bound(schema: Any, args: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name, defaults among them."""
    given = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    positional = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)}
    ordered = given | positional | dict(keywords)
    return {argument.name: ordered[argument.name] for argument in schema.arguments}


def _first(schema: Any) -> str:
    return schema.arguments[0].name


def _accepted(handler: Callable[..., Any], schema: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the handler takes; UnsupportedError if it lacks one that matters."""
    code: Any = handler.__code__
    names = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    takes_all = bool(code.co_flags & 0x08)
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    kept = {}
    for name, value in given.items():
        if name in names or (takes_all and name not in _UNIMPORTANT):
            kept[name] = value
        elif name not in _UNIMPORTANT and not (name in defaults and _equal(defaults[name], value)):
            raise UnsupportedError(f"its setting {name}={value!r} has no block")
    return kept


def _equal(a: Any, b: Any) -> bool:
    return a is b or (not isinstance(b, Flow | Known | Symbol) and bool(a == b))


def _computed(target: Any, given: dict[str, Any]) -> Any:
    """What the operator gives for known tensors."""

    def known(value: Any) -> Any:
        if isinstance(value, Known):
            return value.tensor.detach().clone()
        return value.known if isinstance(value, Flow) else value

    with torch.no_grad():
        return target(**pytree.tree_map(known, given))


def _shares_memory(node: fx.Node, other: fx.Node) -> bool:
    a, b = node.meta.get("val"), other.meta.get("val")
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return False
    return a.untyped_storage()._cdata == b.untyped_storage()._cdata


def _attribute(module: Any, target: Any) -> Any:
    for part in str(target).split("."):
        module = getattr(module, part)
    return Known(module, str(target)) if isinstance(module, Tensor) else module


def opaque_block(target: Any, given: dict[str, Any], graph: Graph) -> tuple[Opaque, list[Value]]:
    """The operator as an Opaque block, and its operands. What has its default is left out."""
    operands: list[Value] = [each for each in pytree.tree_leaves(given) if isinstance(each, Flow | Known)]
    places = itertools.count()
    _, others = graph.formulas([each for each in pytree.tree_leaves(given) if isinstance(each, Symbol)], *operands)

    def plain(value: Any) -> Any:
        if isinstance(value, Flow | Known):
            return {"input": next(places)}
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, Symbol):
            return {"size": graph.formulas([value], *operands, *others)[0][0]}
        return tuple(plain(each) for each in value) if isinstance(value, list | tuple) else value

    schema = target._schema
    defaults = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named = {
        name: plain(value)
        for name, value in given.items()
        if not (name in defaults and _equal(defaults[name], value)) and name not in _UNIMPORTANT
    }
    leading = list(itertools.takewhile(lambda a: a.name in named and not a.kwarg_only, schema.arguments))
    positional = tuple(named.pop(argument.name) for argument in leading)
    return Opaque(str(target), positional, named), [*operands, *others]
