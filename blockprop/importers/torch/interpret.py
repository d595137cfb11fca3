"""Walk the graph that torch.export made of a module, and add blocks for its operators.

torch itself could take in-place operators and views out of the graph before the walk, by run_decompositions with an
empty table. Tried with torch 2.13, it does more: dropout in evaluation becomes clone, so that it never drops in `fit`;
batch_norm becomes a private operator; flatten, contiguous and chunk become others, named after modules that run later;
and it takes 1.5 to 2 times as long as the export. So what is written into is followed here, by Cells (views.py).
"""

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
from blockprop.importers.torch.arguments import ARRANGING, accepted, bound, computed, has_complex, opaque_block
from blockprop.importers.torch.decomposing import decomposed
from blockprop.importers.torch.formulas import Formula, evaluated, leaves_of
from blockprop.importers.torch.naming import COMPARISONS, IGNORED, Names, body_name, operator_name, place_of, why_not
from blockprop.importers.torch.views import VIEWS, Cell, Memory, View, is_harmless, shares_memory

_SYMBOLIC: dict[str, Callable[..., Any]] = {"sym_max": larger, "sym_min": smaller, "sym_float": lambda size: size}
"""Functions of torch on sizes that are not those of Python."""
_MISSING: Any = object()
"""Stands for what an unsupported operator would have given, so that the walk can go on and find all of them."""


class TorchInterpreter:
    """One walk over the operators of a module.

    graph: to which it adds nodes   leaves: names of modules without children   opaque: whether an operator without a
    block becomes an Opaque block   formulas: which numbers among the arguments are sizes, by explaining.py
    training: whether the module is imported as it is in training
    """

    def __init__(
        self,
        graph: Graph,
        leaves: set[str],
        opaque: bool,
        formulas: Mapping[tuple[str, int], Formula] | None = None,
        training: bool = False,
    ):
        self.graph, self.leaves, self.opaque, self.training = graph, leaves, opaque, training
        self.formulas, self._prefix = formulas or {}, ""
        self.problems: list[Problem] = []
        self.opaque_names: list[str] = []
        self._cells: dict[str, Cell] = {}
        """By the name of the node whose output each is, in a region with its prefix."""
        self._memory = Memory()

    def run(self, program: fx.Graph, values: list[Any]) -> list[Any]:
        """The values that the graph gives for these values, or Cells, of its placeholders."""
        self._names, remaining = Names(program, self.leaves), iter(values)
        for node in program.nodes:
            if node.op == "placeholder":
                value = next(remaining)
                self._enter(node, value if isinstance(value, Cell) else Cell(value))
            elif node.op == "get_attr":
                self._enter(node, Cell(_attribute(program.owning_module, node.target)))
            elif node.op == "output":
                return [self._now(result) for result in pytree.tree_leaves(node.args[0])]
            elif operator_name(node) not in IGNORED:
                self._enter(node, self._visited(node))
        return []

    def _enter(self, node: fx.Node, cell: Cell) -> None:
        """From here on, the cell is the node's output."""
        self._cells[self._prefix + node.name] = cell
        if node.op == "placeholder" or isinstance(node.target, torch._ops.OpOverload):
            self._memory.owner(node, cell)

    def _now(self, argument: Any) -> Any:
        return self._cell(argument).read() if isinstance(argument, fx.Node) else argument

    def _cell(self, node: fx.Node) -> Cell:
        return self._cells[self._prefix + node.name]

    def _visited(self, node: fx.Node) -> Cell:
        """The output of one node that calls something."""
        target: Any = node.target
        arguments, keywords = self._arguments(node)
        if any(value is _MISSING for value in pytree.tree_leaves((arguments, keywords))):
            if isinstance(target, torch._ops.OpOverload) and self._handler(target) is None:
                self._note(node, str(target), "it has no block")
            return Cell(_MISSING)
        if isinstance(target, torch._ops.OpOverload):
            return self._operator(node, target, bound(target._schema, arguments, keywords))
        if isinstance(target, torch._ops.HigherOrderOperator):
            return Cell(self._region(node, target, *arguments))
        return Cell(self._python(node, target, *arguments))

    def _arguments(self, node: fx.Node) -> Any:
        """(arguments, keywords) of the node as they are now."""
        leaves, structure = pytree.tree_flatten((node.args, node.kwargs))
        for place, leaf in enumerate(leaves):
            formula = self.formulas.get((self._prefix + node.name, place))
            leaves[place] = self._now(leaf) if formula is None else self._size(node, formula)
        return pytree.tree_unflatten(leaves, structure)

    def _size(self, node: fx.Node, formula: Formula) -> Any:
        values = {leaf.value: self._cells[leaf.value].read() for leaf in leaves_of(formula)}
        if any(value is _MISSING for value in values.values()):
            return _MISSING
        try:
            return evaluated(formula, lambda leaf: values[leaf.value].shape[leaf.axis])
        except TypeError:
            self._note(node, operator_name(node), "arithmetic of this kind with a free size")
            return _MISSING

    def _python(self, node: fx.Node, target: Callable[..., Any], *given: Any) -> Any:
        """Arithmetic with sizes, and taking one of several outputs."""
        if (name := target.__name__) not in COMPARISONS:
            symbolic = _SYMBOLIC if any(isinstance(operand, Symbol | Unrounded) for operand in given) else {}
            with suppress(TypeError):
                return symbolic.get(name, target)(*given)
        elif not any(isinstance(operand, Flow | Known) for operand in given):  # of sizes: asserted by torch.export
            return target(*(operand.trials[0] if isinstance(operand, Symbol) else operand for operand in given))
        self._note(node, name, why_not(name))
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
        inner = TorchInterpreter(self.graph, self.leaves, self.opaque, self.formulas, self.training)
        inner._cells, inner._prefix = self._cells, f"{self._prefix}{body_name(node)}."
        cells = [Cell(value) for value in values]
        results = inner.run(body.graph, cells)
        self.problems += inner.problems
        self.opaque_names += inner.opaque_names
        if any(cell.is_written for cell in cells):
            self._note(node, "torch.no_grad", "it writes into a tensor from outside")
        if enabled:
            return results
        return [
            self.graph.add(f"{result.key}.detach", blocks.Detach(), result) if isinstance(result, Flow) else result
            for result in results
        ]

    def _operator(self, node: fx.Node, target: Any, given: dict[str, Any]) -> Cell:
        """The output of an operator: a tensor of its own, a view of its first argument, or that argument rewritten."""
        arguments, name = target._schema.arguments, operator_name(node)
        in_place = any(argument.alias_info is not None and argument.alias_info.is_write for argument in arguments)
        value = self._converted(node, target, given, in_place)
        first = node.args[0] if node.args else None
        if not isinstance(first, fx.Node):
            return Cell(value)
        if in_place:
            return self._written(node, first, value)
        if name in VIEWS and value is not _MISSING and shares_memory(node, first):
            return self._view(node, first, target, given, value)
        return Cell(value)

    def _written(self, node: fx.Node, first: fx.Node, value: Any) -> Cell:
        """The cell of the first argument, into which an in-place operator has written this value."""
        cell = self._cell(first)
        if self._memory.owner(first, cell) is not cell.root and not is_harmless(operator_name(node), first):
            self._note(node, str(node.target), "writing through a view of this kind")
        if value is not _MISSING:
            cell.write(value)
        return cell

    def _view(self, node: fx.Node, first: fx.Node, target: Any, given: dict[str, Any], value: Any) -> View:
        """A view of the first argument: taken anew by the operator, and put back as VIEWS says."""
        title = target._schema.arguments[0].name

        def take(base_value: Any) -> Any:
            return self._converted(node, target, given | {title: base_value}, False)

        def put(base_value: Any, new: Any) -> Any:
            return VIEWS[operator_name(node)](self._call(node, target, {}), base_value, new, given)

        return View(value, self._cell(first), take, put)

    def _converted(self, node: fx.Node, target: Any, given: dict[str, Any], in_place: bool) -> Any:
        """What the operator gives: computed now if it is constant, else by new nodes of the graph."""
        given = self._with_numbers(node, target, given)
        tensors = [operand for operand in pytree.tree_leaves(given) if isinstance(operand, Flow | Known)]
        symbols = any(isinstance(operand, Symbol | Unrounded) for operand in pytree.tree_leaves(given))
        result = None
        if tensors and not symbols and all(isinstance(t, Known) or t.known is not None for t in tensors):
            result = computed(node, target, given)
            if all(isinstance(t, Known) and not t.trained for t in tensors):
                return pytree.tree_map(Known, result) if isinstance(result, list | tuple) else Known(result)
        if not tensors and not symbols and all(r.type.kind() == "TensorType" for r in target._schema.returns):
            return Known(computed(node, target, given))
        call = self._call(node, target, given)
        try:
            handler = self._handler(target)
            if has_complex(node, tensors) and operator_name(node) not in (*VIEWS, *ARRANGING):
                raise UnsupportedError("complex numbers have no block")
            if handler is None:
                raise UnsupportedError("it has no block")
            value = handler(call, **accepted(handler, target._schema, given))
            return self._knowing(_checked(call, value, node.meta.get("val"), in_place), result)
        except UnsupportedError as error:
            if result is not None:  # a weight computed from weights: worked out once, here
                return pytree.tree_map(lambda tensor: Known(tensor, trained=True), result)
            return self._otherwise(node, target, given, call, str(error))
        except (BlockpropError, RuntimeError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise GraphError(
                f"{call.name} ({call.operator}{', ' + call.where if call.where else ''}): {error}"
            ) from error

    def _knowing(self, value: Any, result: Any) -> Any:
        """The values, which say what they are if they depend on weights alone."""
        if isinstance(value, tuple | list) and isinstance(result, tuple | list):
            return type(value)(self._knowing(one, tensor) for one, tensor in zip(value, result, strict=False))
        return self.graph.knowing(value, result) if isinstance(value, Flow) and isinstance(result, Tensor) else value

    def _with_numbers(self, node: fx.Node, target: Any, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments, where a free size as a number to compute with (x / height) is a node of the graph."""
        arguments = dict(given)
        for argument in target._schema.arguments:
            value = given.get(argument.name)
            is_number = str(argument.type) in ("Tensor", "number", "Optional[Tensor]", "Optional[number]")
            if isinstance(value, Symbol) and is_number and argument.name not in ("start", "end", "step"):
                (first, last), others = self.graph.formulas([value, value + 1])
                call = self._call(node, target, {})
                row = call.add(blocks.Range(first, last), *others, part="size")
                arguments[argument.name] = call.add(blocks.Squeeze((0,)), row, part="number")
        return arguments

    def _otherwise(self, node: fx.Node, target: Any, given: dict[str, Any], call: Call, why: str) -> Any:
        """For an operator without a block: those that torch makes of it; else an Opaque block, or a problem."""
        try:
            parts = decomposed(target, given, node)
        except UnsupportedError as error:
            parts, why = None, str(error)
        if parts is not None:
            program, values, formulas = parts
            inner = TorchInterpreter(self.graph, self.leaves, False, formulas, self.training)
            outputs = inner.run(program, values)
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
        weights = [operand.name for operand in given.values() if isinstance(operand, Known) and operand.name]
        return Call(self.graph, self._names.of(node, weights), str(target), place_of(node), training=self.training)

    def _note(self, node: fx.Node, operator: str, why: str) -> None:
        self.problems.append(Problem(self._names.of(node, []), operator, why, place_of(node)))


def _checked(call: Call, value: Any, example: Any, in_place: bool) -> Any:
    """The handler's output, if it is of the type and number of axes that torch's operator gives."""
    if isinstance(value, tuple | list) and isinstance(example, tuple | list):
        return type(value)(_checked(call, one, other, in_place) for one, other in zip(value, example, strict=False))
    if isinstance(value, Flow) and isinstance(example, Tensor):
        if in_place:
            value = cast(call, value, example.dtype)
        if (value.dtype, value.axes) != (example.dtype, example.dim()):
            raise UnsupportedError(
                f"its blocks give {value.dtype} with {value.axes} axes in place of {example.dtype} with {example.dim()}"
            )
    return value


def _attribute(module: Any, target: Any) -> Any:
    for part in str(target).split("."):
        module = getattr(module, part)
    return Known(module, str(target)) if isinstance(module, Tensor) else module
