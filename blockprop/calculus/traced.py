"""Values that stand for tensors: what is done with them is written down, block by block."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockprop.blocks import (
    BLOCKS,
    Abs,
    Add,
    Constant,
    Div,
    Einsum,
    Function,
    MatMul,
    Mean,
    Mul,
    Pow,
    Power,
    Reshape,
    Select,
    Slice,
    Sub,
    Sum,
    Transpose,
)
from blockprop.engine.block import Block, StandIn
from blockprop.engine.network import Network
from blockprop.engine.passes import run_forward
from blockprop.engine.plan import Node, plan_forward
from blockprop.errors import SettingError, ShapeError, UnsupportedError, shape, suggestion

VECTORS = {(1, 1): "i,i->", (1, 2): "i,ij->j", (2, 1): "ij,j->i"}
"""The products in which a vector takes part, by the numbers of axes."""


class Tape:
    """The blocks that were called so far, as nodes of a network; `values` and `saved` as in a Trace."""

    def __init__(self, inputs: Mapping[str, Tensor]):
        self.inputs = tuple(inputs)
        self.values, self.saved, self.nodes = dict(inputs), dict[str, Any](), list[Node]()
        self._counts: Counter[str] = Counter()

    def call(self, what: Block | Network, inputs: tuple[Any, ...]) -> Any:
        """Run a block, or a network node by node; the values that it gives."""
        like = next(x for x in inputs if isinstance(x, Traced))
        keys = tuple(self._key(x, like) for x in inputs)
        if isinstance(what, Network):
            return self._network(what, keys)
        return self._values(self._ran(Node(self._named(type(what).__name__), what, keys)))

    def _network(self, network: Network, keys: tuple[str, ...]) -> Any:
        if len(keys) != len(network.inputs):
            raise ShapeError(f"the network takes {len(network.inputs)} inputs, not {len(keys)}")
        here = dict(zip(network.inputs, keys, strict=True))
        for node in network.nodes:
            name = node.name if self._is_free(node.name) else self._named(node.name)
            there = self._ran(Node(name, node.block, tuple(here[key] for key in node.inputs)))
            here.update(zip(node.keys, there, strict=True))
        return self._values(tuple(here[key] for key in network.outputs))

    def _ran(self, node: Node) -> tuple[str, ...]:
        run_forward(plan_forward([node], None, False), self.values, self.saved)
        self.nodes.append(node)
        return node.keys

    def _values(self, keys: tuple[str, ...]) -> Any:
        values = tuple(Traced(self, key) for key in keys)
        return values[0] if len(values) == 1 else values

    def _key(self, x: Any, like: "Traced") -> str:
        if isinstance(x, Traced):
            if x.tape is not self:
                raise SettingError("a value of one call of a function was used in another one; use its .tensor there")
            return x.key
        return self._ran(Node(self._named("constant"), Constant(as_real(x, like.tensor.dtype)), ()))[0]

    def _named(self, kind: str) -> str:
        kind = kind.lower()
        self._counts[kind] += 1
        name = f"{kind}{self._counts[kind]}"
        return name if self._is_free(name) else self._named(kind)

    def _is_free(self, name: str) -> bool:
        return name not in self.values and all(node.name != name for node in self.nodes)


class Traced(StandIn):
    """A tensor in a function that is being written down; each operator and each block called on it becomes a node.

    + − * / ** @, −v, abs(v), v.T, v[i], v.sum(), v.mean(), v.trace(), v.reshape(…), and every block: Exp()(v).
    tensor: its numbers, for looking and for deciding (`if float(v) > 0`). What is computed from them is a constant:
    nothing goes back through it.   shape, ndim: the tensor's.
    """

    __array_ufunc__ = None  # so that numpy's arrays leave the operators to us
    __slots__ = ("key", "tape")

    def __init__(self, tape: Tape, key: str):
        self.tape, self.key = tape, key

    def __repr__(self) -> str:
        return f"Traced({self.key}, {shape(self.tensor)})"

    def called(self, what: Any, inputs: tuple[Any, ...]) -> Any:
        return self.tape.call(what, inputs)

    @property
    def tensor(self) -> Tensor:
        return self.tape.values[self.key]

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    @property
    def ndim(self) -> int:
        return self.tensor.ndim

    @property
    def T(self) -> "Traced":
        """The transpose of a matrix; a vector stays what it is."""
        if self.ndim > 2:
            raise ShapeError(f".T takes a matrix or a vector, came {shape(self.tensor)}; Transpose takes any axes")
        return self._to(Transpose((1, 0))) if self.ndim == 2 else self

    def sum(self, axes: Any = None, keep: bool = False) -> "Traced":
        """The sum of all elements, or over some axes."""
        return self._reduced(Sum, axes, keep)

    def mean(self, axes: Any = None, keep: bool = False) -> "Traced":
        """The mean of all elements, or over some axes."""
        return self._reduced(Mean, axes, keep)

    def trace(self) -> "Traced":
        """The sum of a square matrix's diagonal, tr A."""
        if self.ndim != 2 or self.shape[0] != self.shape[1]:
            raise ShapeError(f"the trace is of a square matrix, came {shape(self.tensor)}")
        return self._to(Einsum("ii->"))

    def reshape(self, *sizes: Any) -> "Traced":
        """The same elements in another shape."""
        return self._to(Reshape(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes, 0))

    def __float__(self) -> float:
        if self.tensor.numel() != 1:
            raise ShapeError(f"expected one number, came {shape(self.tensor)}")
        return float(self.tensor)

    def __bool__(self, *_: Any) -> bool:
        raise SettingError("whether a value is true is not known: compare its number, as in `if float(v) > 0`")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__
    __hash__ = object.__hash__

    def __mod__(self, other: Any) -> "Traced":
        raise UnsupportedError('% and // of a value cannot be written down, a block can: Function("floor")(a / b)')

    __rmod__ = __floordiv__ = __rfloordiv__ = __mod__

    def __len__(self) -> int:
        return len(self.tensor)

    def __iter__(self) -> Iterator["Traced"]:
        if not self.ndim:
            raise ShapeError("a single number has no elements to go through")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, places: Any) -> "Traced":
        value, axis = self, 0
        for place in places if isinstance(places, tuple) else (places,):
            if isinstance(place, slice):
                step = 1 if place.step is None else place.step
                value, axis = value._to(Slice(axis, place.start or 0, place.stop, step)), axis + 1
            elif isinstance(place, int):
                value = value._to(Select(axis, place))
            elif isinstance(place, EllipsisType):
                rest = len(places) - 1 - places.index(place) if isinstance(places, tuple) else 0
                axis = value.ndim - rest
            else:
                raise UnsupportedError(f"[{place!r}]: places are whole numbers and slices; Gather takes tensors")
        return value

    def __add__(self, other: Any) -> "Traced":
        return self._to(Add(), other)

    def __radd__(self, other: Any) -> "Traced":
        return self._from(Add(), other)

    def __sub__(self, other: Any) -> "Traced":
        return self._to(Sub(), other)

    def __rsub__(self, other: Any) -> "Traced":
        return self._from(Sub(), other)

    def __mul__(self, other: Any) -> "Traced":
        return self._to(Mul(), other)

    def __rmul__(self, other: Any) -> "Traced":
        return self._from(Mul(), other)

    def __truediv__(self, other: Any) -> "Traced":
        return self._to(Div(), other)

    def __rtruediv__(self, other: Any) -> "Traced":
        return self._from(Div(), other)

    def __matmul__(self, other: Any) -> "Traced":
        return self._to(_product(self, other), other)

    def __rmatmul__(self, other: Any) -> "Traced":
        return self._from(_product(other, self), other)

    def __pow__(self, other: Any) -> "Traced":
        if isinstance(other, Traced) or (isinstance(other, Tensor) and other.ndim):
            return self._to(Power(), other)
        return self._to(Pow(float(other)))

    def __rpow__(self, other: Any) -> "Traced":
        return self._from(Power(), other)

    def __neg__(self) -> "Traced":
        return self._to(Function("neg"))

    def __pos__(self) -> "Traced":
        return self

    def __abs__(self) -> "Traced":
        return self._to(Abs())

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), settings: Any = None
    ) -> Any:
        """tensor + value comes here, and so does torch.sin(value), which is not written down."""
        name = function.__name__.strip("_")
        if name in OPERATORS:
            return getattr(arguments[1], f"__r{OPERATORS[name]}__")(arguments[0])
        raise UnsupportedError(f"torch.{name} of a value cannot be written down, a block can{_block_for(name)}")

    def _to(self, block: Block, *others: Any) -> "Traced":
        value: Traced = self.tape.call(block, (self, *others))
        return value

    def _from(self, block: Block, other: Any) -> "Traced":
        value: Traced = self.tape.call(block, (other, self))
        return value

    def _reduced(self, kind: type[Sum] | type[Mean], axes: Any, keep: bool) -> "Traced":
        if axes is None and not self.ndim:
            return self
        return self._to(kind(tuple(range(self.ndim)) if axes is None else axes, keep))


OPERATORS = {"add": "add", "sub": "sub", "mul": "mul", "div": "truediv", "truediv": "truediv", "matmul": "matmul"} | {
    "true_divide": "truediv",
    "pow": "pow",
}
"""What torch calls `tensor + value` and so on, and what Python does."""


def _product(a: Any, b: Any) -> Block:
    """The block for a @ b."""
    axes = tuple(x.ndim if isinstance(x, Tensor | Traced) else as_real(x).ndim for x in (a, b))
    return Einsum(VECTORS[axes]) if axes in VECTORS else MatMul()


def _block_for(name: str) -> str:
    """What to write in place of a function of torch's."""
    kinds = {block.lower(): block for block in BLOCKS}
    if block := kinds.get(name.replace("_", "")):
        return f": {block}()(v)"
    try:
        Function(name)
    except SettingError:
        return suggestion(name, BLOCKS)
    return f': Function("{name}")(v)'


def as_real(x: Any, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers as a tensor: one of real numbers as it is, anything else in this dtype. ShapeError for no numbers."""
    try:
        tensor = x.detach() if isinstance(x, Tensor) else torch.from_numpy(np.array(x))  # in float64, not float32
        if tensor.is_complex():
            raise TypeError("complex")
        return tensor if isinstance(x, Tensor) and tensor.is_floating_point() else tensor.to(dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ShapeError(f"expected real numbers or a tensor of them, came {type(x).__name__} {x!r:.60}") from None
