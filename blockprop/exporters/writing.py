"""What a handler gets: one node of the network, for which it adds operators, weights and numbers to the file."""

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import NodeProto
from torch import Tensor

from blockprop.blocks.sizes import Size
from blockprop.blocks.sources import name_of
from blockprop.engine.plan import Node
from blockprop.exporters.operand import Operand, OperatorInput
from blockprop.exporters.writer import TYPES, Writer, as_proto

_ARITHMETIC: dict[type, tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("Add", operator.add),
    ast.Sub: ("Sub", operator.sub),
    ast.Mult: ("Mul", operator.mul),
    ast.FloorDiv: ("Div", operator.floordiv),
    ast.Mod: ("Mod", operator.mod),
}
END = 2**63 - 1
"""Stands for the end of an axis in Slice."""


class Writing:
    """One node of the network, while it is written.

    inputs, outputs: its values   owner: the node that the block's weights are named after
    """

    def __init__(self, writer: Writer, node: Node, owner: str, inputs: Sequence[Operand], outputs: Sequence[Operand]):
        self.writer, self.name, self.owner, self.block = writer, node.name, owner, node.block
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.main: str | None = None
        """Output of the operator that is to be called like the node, if it is not the one that makes its output."""
        self._first = len(writer.nodes)

    @property
    def opset(self) -> int:
        """The version of ONNX' operators that is written."""
        return self.writer.opset

    @property
    def dtype(self) -> torch.dtype:
        """The type of number of the (first) output."""
        return self.outputs[0].dtype

    def add(self, operator: str, *inputs: OperatorInput, count: int = 1, **attributes: Any) -> Any:
        """An operator: the name of its output, or a tuple of them if count > 1. Attributes of None are left out."""
        names = [self.writer.unique(f"{self.name}/{operator}") for _ in range(count)]
        settings = {name: value for name, value in attributes.items() if value is not None}
        self.writer.nodes.append(onnx.helper.make_node(operator, list(map(str, inputs)), names, **settings))
        return names[0] if count == 1 else tuple(names)

    def cast(self, x: OperatorInput, dtype: torch.dtype, came: torch.dtype | None = None) -> Any:
        """x as this type of number; came: the type that it has, if it is no Operand."""
        present = x.dtype if isinstance(x, Operand) else came
        return x if present == dtype else self.add("Cast", x, to=TYPES[dtype])

    def reduce(self, operator: str, x: OperatorInput, axes: Sequence[int], keep: bool) -> str:
        """A reduction; all but the sum take their axes as an attribute before opset 18."""
        if self.opset < 18 and operator != "ReduceSum":
            return self.add(operator, x, axes=list(axes), keepdims=int(keep))
        return self.add(operator, x, self.whole(*axes), keepdims=int(keep))

    def reshape(self, x: OperatorInput, shape: Sequence[Size], copies: int = 0) -> str:
        """x in another shape of numbers, −1 and formulas of the node's inputs.

        copies: so many axes of x, in front, are those of the node's first input.
        """
        sizes = [size if size == -1 else self.size(size) for size in shape]
        free = [i for i, size in enumerate(sizes) if isinstance(size, str)]
        if 0 not in sizes:
            for i in free:
                if i < copies and shape[i] == f"a{i}":
                    sizes[i] = 0
        free = [i for i, size in enumerate(sizes) if isinstance(size, str)]
        if len(free) == 1 and -1 not in sizes and 0 not in sizes:
            sizes[free[0]] = -1
        return self.add("Reshape", x, self._joined(sizes), allowzero=1 if 0 in shape else None)

    def part(self, x: OperatorInput, axis: int, start: Size, stop: Size | None = None, step: int = 1) -> str:
        """A part of one axis, from start to before stop."""
        ends = [self.sizes([start]), self.whole(END) if stop is None else self.sizes([stop])]
        return self.add("Slice", x, *ends, self.whole(axis), *([] if step == 1 else [self.whole(step)]))

    def weight(self, name: str, tensor: Tensor | None = None) -> str:
        """A weight or buffer of the block; tensor: in the form in which the operator takes it."""
        return self.writer.tensor(f"{self.owner}.{name}", getattr(self.block, name) if tensor is None else tensor)

    def number(self, value: float, dtype: torch.dtype | None = None) -> str:
        """A single number, of the output's type if no other is said."""
        dtype = dtype or self.dtype
        return self.writer.tensor(f"number_{value}_{name_of(dtype)}", torch.tensor(value, dtype=dtype))

    def whole(self, *numbers: int) -> str:
        """A row of whole numbers, such as axes."""
        title = "_".join(["row", *map(str, numbers[:8]), *["more"] * (len(numbers) > 8)])
        return self.writer.tensor(title, torch.tensor(numbers, dtype=torch.int64))

    def constant(self, tensor: Tensor) -> str:
        """A tensor that is no weight: in an operator of its own, which tells readers that it is not trained."""
        return self.add("Constant", value=as_proto("", tensor))

    def sizes(self, formulas: Sequence[Size]) -> str:
        """A row of the numbers that the formulas are for the node's inputs."""
        return self._joined([self.size(formula) for formula in formulas])

    def size(self, formula: Size) -> int | str:
        """The number that a formula is for the node's inputs; a row of one, if it hangs on a free size."""
        return formula if isinstance(formula, int) else self._value(ast.parse(formula, mode="eval").body)

    def single(self, formula: Size) -> str:
        """The same, as a number without axes."""
        size = self.size(formula)
        if isinstance(size, int):
            return self.number(size, torch.int64)
        return self.add("Squeeze", size, self.whole(0))

    def size_of_axis(self, x: OperatorInput, axis: int) -> str:
        """The size of an axis, found out when the file is run."""
        sizes, place = self.writer.sizes, (str(x), axis)
        if place not in sizes:
            sizes[place] = self.add("Shape", x, start=axis, end=axis + 1)
        return sizes[place]

    def _joined(self, sizes: Sequence[int | str]) -> str:
        if all(isinstance(size, int) for size in sizes):
            return self.whole(*sizes)  # type: ignore[arg-type]
        rows = [size if isinstance(size, str) else self.whole(size) for size in sizes]
        return rows[0] if len(rows) == 1 else self.add("Concat", *rows, axis=0)

    def _value(self, tree: Any) -> Any:
        match tree:
            case ast.Constant(value):
                return value
            case ast.Name(name):
                x, axis = self.inputs[ord(name[0]) - ord("a")], int(name[1:])
                size = x.sizes[axis]
                return self.size_of_axis(x, axis) if size is None else size
            case ast.UnaryOp(_, operand):
                inner = self._value(operand)
                return -inner if isinstance(inner, int) else self.add("Neg", inner)
            case _:
                return self._binary(type(tree.op), self._value(tree.left), self._value(tree.right), tree)

    def _binary(self, kind: type, a: int | str, b: int | str, tree: Any) -> int | str:
        name, function = _ARITHMETIC[kind]
        if isinstance(a, int) and isinstance(b, int):
            return function(a, b)
        first, second = (self.whole(operand) if isinstance(operand, int) else operand for operand in (a, b))
        if kind is ast.FloorDiv and any(isinstance(part, ast.USub | ast.Sub) for part in ast.walk(tree)):
            first = self.add("Sub", first, self.add("Mod", first, second))  # because Div rounds towards 0
        return self.add(name, first, second)

    def finish(self, result: Any) -> None:
        """Give the outputs, and the operator that makes them, the node's own names."""
        names = result if isinstance(result, tuple) else (result,)
        nodes = self.writer.nodes[self._first :]
        made = {name: node for node in nodes for name in node.output}
        renamed: dict[str, str] = {}
        for name, key in zip(map(str, names), map(str, self.outputs), strict=True):
            if name in made and name not in renamed:
                renamed[name] = key
            elif name != key:
                source = renamed.get(name, name)
                self.writer.nodes.append(onnx.helper.make_node("Identity", [source], [key]))
        for node in nodes:
            for names_of in (node.input, node.output):
                names_of[:] = [renamed.get(name, name) for name in names_of]
        self._name(self.writer.nodes[self._first :])

    def _name(self, nodes: Sequence[NodeProto]) -> None:
        wanted = {self.main} if self.main else set(map(str, self.outputs))
        main = next((node for node in reversed(nodes) if not wanted.isdisjoint(node.output)), None)
        for node in nodes:
            node.name = self.writer.title(self.name if node is main else f"{self.name}/{node.op_type}")
