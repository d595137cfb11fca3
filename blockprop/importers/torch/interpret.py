"""Walk the graph that torch.export made of a module, and add blocks for its operators."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from blockprop import blocks
from blockprop.errors import BlockpropError, GraphError, UnsupportedError
from blockprop.importers.aten import ATEN
from blockprop.importers.aten.elementwise import cast
from blockprop.importers.calls import Call
from blockprop.importers.graph import Flow, Graph, Known
from blockprop.importers.problems import Problem
from blockprop.importers.symbols import Symbol, Unrounded, larger, smaller
from blockprop.importers.torch.arguments import accepted, bound, computed, first_of, opaque_block
from blockprop.importers.torch.decomposing import decomposed
from blockprop.importers.torch.explaining import Explanations, Reference
from blockprop.importers.torch.naming import IGNORED, Names, operator_name, place_of
from blockprop.importers.torch.views import VIEWS, Cell

_SYMBOLIC: dict[str, Callable[..., Any]] = {"sym_max": larger, "sym_min": smaller, "sym_float": lambda size: size}
"""Functions of torch on sizes that are not those of Python."""
_MISSING: Any = object()
"""Stands for what an unsupported operator would have given, so that the walk can go on and find all of them."""


class TorchInterpreter:
    """One walk over the operators of a module.

    values: what the graph's placeholders stand for   paths: names of modules without children   opaque: whether an
    operator without a block becomes an Opaque block   explanations: which numbers in the graph are sizes
    training: whether the module is imported as it is in training
    """

    def __init__(
        self,
        graph: Graph,
        leaves: set[str],
        opaque: bool,
        explanations: Explanations | None = None,
        training: bool = False,
    ):
        self.graph, self.leaves, self.opaque, self.training = graph, leaves, opaque, training
        self.explanations = explanations or {}
        self.problems: list[Problem] = []
        self.opaque_names: list[str] = []

    def run(self, program: fx.Graph, values: list[Any], detached: bool = False) -> list[Any]:
        """The values that the graph gives for these values of its placeholders."""
        cells: dict[fx.Node, Any] = {}
        self._by_name: dict[str, Any] = {}
        self._owners: dict[int, Cell] = {}
        given = iter(values)
        self._names = Names(program, self.leaves)
        for node in program.nodes:
            if node.op == "placeholder":
                value = next(given)
                cells[node] = value if isinstance(value, Cell) else Cell(value)
                self._owner(node, cells[node])
            elif node.op == "get_attr":
                cells[node] = Cell(_attribute(program.owning_module, node.target))
            elif node.op == "output":
                return [
                    cells[each].read() if isinstance(each, fx.Node) else each
                    for each in pytree.tree_leaves(node.args[0])
                ]
            else:
                self._visit(node, cells)
            if node in cells:
                self._by_name[node.name] = cells[node]
        return []

    def _visit(self, node: fx.Node, cells: dict[fx.Node, Any]) -> None:
        target: Any = node.target
        read = self._read(node, cells)
        missing = any(each is _MISSING for each in pytree.tree_leaves(read))
        if isinstance(target, torch._ops.OpOverload):
            if target._schema.name.split("::")[1] in IGNORED:
                return
            if missing:
                cells[node] = Cell(_MISSING)
                if self._handler(target) is None:
                    self._note(node, str(target), "it has no block")
            else:
                self._operator(node, target, read, cells)
        elif isinstance(target, torch._ops.HigherOrderOperator):
            cells[node] = Cell(_MISSING if missing else self._region(node, target, *read[0]))
        else:
            cells[node] = Cell(_MISSING if missing else self._python(node, target, *read[0]))

    def _read(self, node: fx.Node, cells: dict[fx.Node, Any]) -> Any:
        """(arguments, keywords) of the node as they are now."""
        given, structure = pytree.tree_flatten((node.args, node.kwargs))
        for place, each in enumerate(given):
            reference = self.explanations.get((node.name, place))
            if reference is not None:
                given[place] = self._size(reference)
            elif isinstance(each, fx.Node):
                given[place] = cells[each].read()
        return pytree.tree_unflatten(given, structure)

    def _size(self, reference: Reference) -> Any:
        values = [self._by_name[name].read() for name, _ in reference.axes]
        if any(value is _MISSING for value in values):
            return _MISSING
        sizes = [value.shape[axis] for value, (_, axis) in zip(values, reference.axes, strict=True)]
        return math.prod(sizes) * reference.factor // reference.divisor

    def _python(self, node: fx.Node, target: Callable[..., Any], *given: Any) -> Any:
        """Arithmetic with sizes, and taking one of several outputs."""
        symbols = [each for each in given if isinstance(each, Symbol | Unrounded)]
        if target.__name__ in ("ge", "le", "gt", "lt", "eq", "ne"):  # what torch.export only asserts
            return target(*(each.trials[0] if isinstance(each, Symbol) else each for each in given))
        try:
            return _SYMBOLIC.get(target.__name__, target)(*given) if symbols else target(*given)
        except TypeError:
            self._note(node, target.__name__, "arithmetic of this kind with a free size")
            return _MISSING

    def _region(self, node: fx.Node, target: Any, *given: Any) -> Any:
        """The operators under a `with torch.no_grad()`, or under autocast, of the module."""
        if target.__name__ == "wrap_with_set_grad_enabled":
            enabled, body, *values = given
        elif target.__name__ == "wrap_with_autocast":
            _, _, autocast, _, body, *values = given
            enabled = True
            if autocast:
                self._note(node, "torch.autocast", "types of number that torch chooses while it runs")
        else:
            self._note(node, str(target), "control flow inside the network")
            return _MISSING
        inner = TorchInterpreter(self.graph, self.leaves, self.opaque, training=self.training)
        cells = [Cell(value) for value in values]
        found = inner.run(body.graph, cells)
        self.problems += inner.problems
        self.opaque_names += inner.opaque_names
        if any(cell.is_written for cell in cells):
            self._note(node, "torch.no_grad", "it writes into a tensor from outside")
        if enabled:
            return found
        return [
            self.graph.add(f"{each.key}.detach", blocks.Detach(), each) if isinstance(each, Flow) else each
            for each in found
        ]

    def _operator(self, node: fx.Node, target: Any, read: Any, cells: dict[fx.Node, Any]) -> None:
        schema = target._schema
        given = bound(schema, *read)
        written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        name = schema.name.split("::")[1]
        first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        value = self._converted(node, target, given, bool(written))
        if written and first is not None:
            if self._owner(first, cells[first]) is not cells[first].root and not _is_harmless(name, first):
                self._note(node, str(target), "writing through a view of this kind")
            if value is not _MISSING:
                cells[first].write(value)
            cells[node] = cells[first]
        elif first is not None and name in VIEWS and _shares_memory(node, first) and value is not _MISSING:
            cells[node] = Cell(
                value,
                cells[first],
                lambda base: self._converted(node, target, given | {first_of(schema): base}, False),
                lambda base, new: VIEWS[name](self._call(node, target, {}), base, new, given),
            )
        else:
            cells[node] = Cell(value)
        self._owner(node, cells[node])

    def _owner(self, node: fx.Node, cell: Cell) -> Cell:
        """The tensor whose memory the node's output shares: the first one that had it."""
        val = node.meta.get("val")
        if not isinstance(val, Tensor):
            return cell.root
        return self._owners.setdefault(val.untyped_storage()._cdata, cell.root)

    def _converted(self, node: fx.Node, target: Any, given: dict[str, Any], in_place: bool) -> Any:
        """What the operator gives: computed now if it is constant, else by new nodes of the graph."""
        given = self._with_numbers(node, target, given)
        tensors = [each for each in pytree.tree_leaves(given) if isinstance(each, Flow | Known)]
        symbols = any(isinstance(each, Symbol | Unrounded) for each in pytree.tree_leaves(given))
        known = None
        if tensors and not symbols and all(isinstance(t, Known) or t.known is not None for t in tensors):
            known = computed(target, given)
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
                return Known(call.known, trained=True)
            if handler is None:
                raise UnsupportedError("it has no block")
            value = handler(call, **accepted(handler, target._schema, given))
            return _checked(call, value, node.meta.get("val"), in_place)
        except UnsupportedError as error:
            return self._otherwise(node, target, given, call, str(error))
        except (BlockpropError, RuntimeError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise GraphError(
                f"{call.name} ({call.operator}{', ' + call.where if call.where else ''}): {error}"
            ) from error

    def _with_numbers(self, node: fx.Node, target: Any, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments, where a free size as a number to compute with (x / height) is a node of the graph."""
        found = dict(given)
        for argument in target._schema.arguments:
            value = given.get(argument.name)
            is_number = str(argument.type) in ("Tensor", "number", "Optional[Tensor]", "Optional[number]")
            if isinstance(value, Symbol) and is_number and argument.name not in ("start", "end", "step"):
                (first, last), others = self.graph.formulas([value, value + 1])
                call = self._call(node, target, {})
                row = call.add(blocks.Range(first, last), *others, part="size")
                found[argument.name] = call.add(blocks.Squeeze((0,)), row, part="number")
        return found

    def _otherwise(self, node: fx.Node, target: Any, given: dict[str, Any], call: Call, why: str) -> Any:
        """For an operator without a block: those that torch makes of it; else an Opaque block, or a problem."""
        try:
            found = decomposed(target, given, node)
        except UnsupportedError as error:
            found, why = None, str(error)
        if found is not None:
            inner = TorchInterpreter(self.graph, self.leaves, opaque=False, training=self.training)
            outputs = inner.run(found[0], found[1])
            if not inner.problems:
                value = outputs if isinstance(node.meta.get("val"), tuple | list) else outputs[0]
                with suppress(UnsupportedError):
                    return _checked(call, value, node.meta.get("val"), False)
        return self._opaque(node, target, given, call, why)

    def _opaque(self, node: fx.Node, target: Any, given: dict[str, Any], call: Call, why: str) -> Any:
        if self.opaque:
            try:
                block, operands = opaque_block(target, given, self.graph, node.meta.get("val"))
                self.opaque_names.append(call.name)
                return call.add(block, *operands)
            except (BlockpropError, RuntimeError, TypeError, ValueError) as error:
                why = f"{why}, and cannot be opaque: {error}"
        self._note(node, call.operator, why)
        return _MISSING

    def _handler(self, target: Any) -> Any:
        name = target._schema.name.split("::")[1]
        if target.namespace not in ("aten", "blockprop"):
            return None
        return ATEN.get(name) or ATEN.get(name.rstrip("_"))

    def _call(self, node: fx.Node, target: Any, given: Mapping[str, Any]) -> Call:
        weights = [each.name for each in given.values() if isinstance(each, Known) and each.name]
        return Call(self.graph, self._names.of(node, weights), str(target), place_of(node), training=self.training)

    def _note(self, node: fx.Node, operator: str, why: str) -> None:
        self.problems.append(Problem(self._names.of(node, []), operator, why, place_of(node)))


def _checked(call: Call, value: Any, val: Any, in_place: bool) -> Any:
    """The handler's output, if it is of the type and number of axes that torch's operator gives."""
    if isinstance(value, tuple | list) and isinstance(val, tuple | list):
        return type(value)(_checked(call, one, other, in_place) for one, other in zip(value, val, strict=False))
    if isinstance(value, Flow) and isinstance(val, Tensor):
        if in_place:
            value = cast(call, value, val.dtype)
        if (value.dtype, value.axes) != (val.dtype, val.dim()):
            raise UnsupportedError(
                f"its blocks give {value.dtype} with {value.axes} axes in place of {val.dtype} with {val.dim()}"
            )
    return value


def _is_harmless(name: str, written: fx.Node) -> bool:
    """Whether nobody sees what is written into a part of another tensor: torch's own unsafe_split promises that."""
    source: Any = written
    while isinstance(source, fx.Node) and source.args and operator_name(source).endswith(("_", "getitem")):
        source = source.args[0]
    return name == "detach_" or (isinstance(source, fx.Node) and operator_name(source).startswith("unsafe_"))


def _shares_memory(node: fx.Node, other: fx.Node) -> bool:
    a, b = node.meta.get("val"), other.meta.get("val")
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return False
    return a.untyped_storage()._cdata == b.untyped_storage()._cdata


def _attribute(module: Any, target: Any) -> Any:
    for part in str(target).split("."):
        module = getattr(module, part)
    return Known(module, str(target)) if isinstance(module, Tensor) else module
