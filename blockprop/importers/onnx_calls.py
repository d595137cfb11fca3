"""What a handler of an ONNX operator gets: the call, its inputs as sizes, numbers or tensors, and nodes to add."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from blockprop import blocks
from blockprop.blocks.sources import name_of
from blockprop.engine.block import Block
from blockprop.errors import UnsupportedError
from blockprop.importers import exact_sizes
from blockprop.importers.calls import Call
from blockprop.importers.exact_sizes import FreeSizeError, Numbers, Quotient
from blockprop.importers.graph import Flow, Graph, Known, Value
from blockprop.importers.symbols import AxisSize, Symbol


@dataclass(eq=False)
class Texts:
    """Texts, which no tensor holds, by their numbers: `names[codes]`, or the network's vocabulary if names is None."""

    codes: Flow | Known
    names: tuple[str, ...] | None = None
    trained: ClassVar[bool] = False
    tied: bool = False


class Several(list[Any]):
    """A sequence of tensors, or an optional one that is there (one) or not (none)."""


Input = Flow | Known | Numbers
LARGEST_FOLD = 2**26
"""Elements of a constant that is worked out at import; a larger one stays in the network."""
LARGEST_WORK = 2 * 10**10
"""Multiplications and additions of a constant that is worked out at import: about a second."""
WITHOUT_KERNELS = (torch.uint16, torch.uint32, torch.uint64)
"""Types that torch can hold, but not compute with."""
LARGEST_SETTING = 64
"""Elements of an input that says how the model computes, rather than what from."""
LARGEST_VALUE = 2**40
"""Elements of a value in the network; no machine holds more."""


class State:
    """What all calls of one walk over a model share.

    folder: the model's   left: elements that may still be worked out
    ties: values computed from weights that have other uses
    untied: weights that became several, because blocks must hold them
    notes: what is worth knowing of the network   classes: their names, if an operator labels them
    vocabulary: the texts that the model knows, by which numbers stand for those of its inputs
    """

    def __init__(self, folder: Path = Path(), left: int = 2**28):
        self.folder, self.left = folder, left
        self.ties: set[str] = set()
        self.untied: list[str] = []
        self.transposed: dict[int, Known] = {}
        self.kept: list[Tensor] = []
        self.notes: list[str] = []
        self.classes: list[str] = []
        self.vocabulary: list[str] = []

    def code_of(self, texts: Texts, text: str) -> int:
        """The number that stands for the text; −1 if none does. The vocabulary grows."""
        if texts.names is not None:
            return texts.names.index(text) if text in texts.names else -1
        if text not in self.vocabulary:
            self.vocabulary.append(text)
        return self.vocabulary.index(text)

    def take(self, count: int) -> bool:
        """Whether so many are allowed; they are taken then."""
        if count > min(LARGEST_FOLD, self.left):
            return False
        self.left -= count
        return True


class OnnxCall(Call):
    """One node of the model.

    version: of the operator   outputs: their names, "" for one that nobody takes
    titles: what the operator calls its inputs, by their ids
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        operator: str,
        where: str = "",
        version: int = 0,
        outputs: tuple[str, ...] = ("",),
        state: State | None = None,
        titles: Mapping[int, str] | None = None,
    ):
        super().__init__(graph, name, operator, where)
        self.version, self.outputs, self.state = version, outputs, state or State()
        self.titles = titles or {}

    def add(self, block: Block, *operands: Input, part: str = "") -> Any:
        """A node for the call, or what it computes if that is constant. `part` names one of several nodes."""
        values = [self.tensor(operand) for operand in operands]
        for value in values:
            if value.dtype in WITHOUT_KERNELS:
                raise UnsupportedError(f"numbers of the type {name_of(value.dtype)}")
        result = None
        tensors = [value.tensor if isinstance(value, Known) else value.known for value in values]
        if not block.parameters and all(tensor is not None for tensor in tensors):
            result = self._worked_out(block, tensors)
        if result is not None and not any(isinstance(v, Flow) or v.trained for v in values):
            return tuple(map(Known, result)) if isinstance(result, tuple) else Known(result)
        name = f"{self.name}.{part}" if part else self.name
        flow = self.graph.add(name, block, *values, known=result)
        tied = result is not None and any(v.key in self.state.ties if isinstance(v, Flow) else v.tied for v in values)
        for output in flow if isinstance(flow, tuple) else (flow,):
            if tied:
                self.state.ties.add(output.key)
            if max(trial.numel() for trial in output.trials) > LARGEST_VALUE:
                raise UnsupportedError(f"its output would have {max(t.numel() for t in output.trials)} elements")
        return flow

    def add_counted(
        self, block: Block, *operands: Input, shape: Callable[[int], tuple[int, ...]], part: str = ""
    ) -> Any:
        """A node with an output of whole numbers whose count follows from the data. shape: of the output, by count."""
        values = [self.tensor(operand) for operand in operands]
        tensors = [value.tensor if isinstance(value, Known) else value.known for value in values]
        if all(tensor is not None for tensor in tensors):
            return Known(block.forward(*tensors)[0])
        trials = [torch.empty(shape(count), dtype=torch.int64, device="meta") for count in self.graph.counted()]
        return self.graph.add(f"{self.name}.{part}" if part else self.name, block, *values, trials=trials)

    def _worked_out(self, block: Block, tensors: list[Any]) -> Any:
        """What the block makes of these tensors; None if that is too much to keep."""
        with torch.no_grad():
            shapes = [tensor.to("meta") for tensor in tensors]
            with torch.device("meta") if not tensors else nullcontext():
                trial = block.forward(*shapes)[0]
            count = sum(t.numel() for t in (trial if isinstance(trial, tuple) else (trial,)))
            if _is_laborious(block, shapes, count) or not self.state.take(count):
                return None
            result = block.forward(*tensors)[0]
        return tuple(t.contiguous() for t in result) if isinstance(result, tuple) else result.contiguous()

    def tensor(self, value: Input) -> Flow | Known:
        """The value as one that blocks take: sizes become nodes that make numbers of them."""
        if not isinstance(value, Numbers):
            return value
        if value.is_plain:
            return Known(value.tensor())
        rows = [self._element(number, value.dtype) for number in value.array.reshape(-1)]
        if len(rows) > 1:
            rows = [self.graph.add(f"{self.name}.sizes", blocks.Concat(0), *rows)]
        return self.graph.add(f"{self.name}.sizes", blocks.Reshape(value.shape, 0), rows[0])

    def _element(self, element: Any, dtype: torch.dtype) -> Flow | Known:
        """A tensor of one element."""
        if isinstance(element, Quotient):
            top, bottom = (self._element(part, dtype) for part in (element.top, element.bottom))
            return self.graph.add(f"{self.name}.ratio", blocks.Div(), top, bottom)
        if not isinstance(element, Symbol):
            return Known(torch.tensor([element], dtype=dtype))
        (start,), others = self.graph.sizes([element])
        block = blocks.Range(start, f"{start}+1", dtype=name_of(dtype))
        return self.graph.add(f"{self.name}.size", block, *others)

    def weight(self, value: Value | None) -> Known | None:
        """A weight that a block must hold itself; worked out now if it is computed from weights alone."""
        if isinstance(value, Flow) and value.known is None:
            raise UnsupportedError(self.unsettled(value))
        return super().weight(value)

    def constant(self, value: Value) -> Tensor:
        """A tensor that must be known at import, such as an index."""
        if isinstance(value, Flow) and value.known is None:
            raise UnsupportedError(self.unsettled(value))
        return super().constant(value)

    def note(self, text: str) -> None:
        """Note what is worth knowing about this node, for `network.meta["notes"]`."""
        note = f"{self.name!r} ({self.operator}) is {text}"
        if note not in self.state.notes:
            self.state.notes.append(note)

    def is_computed(self, value: Input | None) -> bool:
        """Whether it depends on the network's inputs, so that no block can hold it as a weight."""
        return isinstance(value, Flow) and value.known is None

    def unsettled(self, value: Flow) -> str:
        """Why a value that must be known at import is not, and how the user settles that."""
        names = self.graph.origins(value)
        text = f"its {self.titles.get(id(value), 'operand')} must be a constant, and is computed from"
        text += f" the input{'s' * (len(names) > 1)} {' and '.join(map(repr, names))}"
        sizes = [max(trial.numel() for trial in self.graph.inputs[name].trials) for name in names]
        if max(sizes, default=0) <= LARGEST_SETTING and len(names) < len(self.graph.inputs):
            text += f"; constants={{{', '.join(f'{name!r}: …' for name in names)}}} settles it"
        return text

    def known_tensor(self, value: Input) -> Tensor:
        """A tensor that must be known at import, such as an index."""
        return value.tensor() if isinstance(value, Numbers) else self.constant(value)

    def sizes_in(self, value: Input) -> list[AxisSize]:
        """The sizes that an input says, such as the shape that Reshape takes."""
        if isinstance(value, Numbers):
            sizes = value.array.reshape(-1).tolist()
            if any(not isinstance(size, int | Symbol) for size in sizes):
                raise FreeSizeError("a size that is not known to be whole")
            return sizes
        tensor = self.constant(value).reshape(-1)
        if tensor.is_floating_point() or tensor.numel() > exact_sizes.LARGEST_CONSTANT:
            raise UnsupportedError(f"{tensor.numel()} numbers of the type {tensor.dtype} cannot be sizes")
        return tensor.tolist()

    def whole_in(self, value: Input) -> list[int]:
        """The whole numbers that an input says, such as axes, which may not hang on free sizes."""
        return exact_sizes.whole(self.sizes_in(value))

    def number_in(self, value: Input | None, default: Any = None) -> Any:
        """The one number that an input says; the default if it is left out."""
        if value is None:
            return default
        tensor = self.known_tensor(value)
        if tensor.numel() != 1:
            raise UnsupportedError(f"an operand of shape {tuple(tensor.shape)} should be one number")
        return tensor.item()

    def axes_in(self, attribute: Sequence[int] | None, value: Input | None) -> list[int] | None:
        """Axes from an input or, in older versions, from an attribute; None if neither says any."""
        if value is not None:
            return self.whole_in(value)
        return None if attribute is None else list(attribute)

    def scalar(self, value: Any, axes: int) -> int | float | None:
        """The number that an operand stands for, if it is one, not trained, and adds no axis to the other's."""
        if isinstance(value, Known) and not value.trained and value.tensor.numel() == 1 and value.axes <= axes:
            number: Any = value.tensor.item()
            return number if isinstance(number, int | float) and math.isfinite(number) else None
        return None

    def transposed(self, matrix: Known) -> Known:
        """The matrix with its axes exchanged: the same one for the same weight."""
        made, mark = self.state.transposed, id(matrix.tensor)
        if mark not in made:
            made[mark] = Known(matrix.tensor.t().contiguous(), trained=matrix.trained)
            self.state.kept.append(matrix.tensor)  # keeps the id its own
        return made[mark]

    def own_weight(self, value: Input | None) -> Known | None:
        """A weight that a block may hold itself, if it is one, and no other operator's; else None."""
        if isinstance(value, Known):
            return value if value.tensor.is_floating_point() and not value.tied else None
        if isinstance(value, Flow) and value.known is not None and value.key not in self.state.ties:
            return Known(value.known, trained=True)
        return None

    def held(self, value: Input) -> Known:
        """A weight that a block must hold itself. One that differently used operators share becomes several."""
        if isinstance(value, Numbers):
            raise UnsupportedError("a weight that is made of sizes")
        weight = self.weight(value)
        assert weight is not None
        if isinstance(value, Known) and value.tied and value.name not in self.state.untied:
            self.state.untied.append(value.name)
        return weight

    def sizes(self, wanted: Sequence[AxisSize], *operands: Input) -> tuple[tuple[int | str, ...], tuple[Flow, ...]]:
        """Sizes as blocks take them, from the first operand where it has them, and the further operands they need."""
        return self.graph.sizes(wanted, *operands)  # type: ignore[arg-type]

    def formulas(self, wanted: Sequence[AxisSize], *operands: Input) -> tuple[tuple[int | str, ...], tuple[Flow, ...]]:
        """Sizes as blocks take them, just as they were computed, and the further operands that they need."""
        return self.graph.formulas(wanted, *operands)  # type: ignore[arg-type]

    def settled(self, array: Any) -> Numbers | Known:
        """Sizes as a value: a constant if none of them is free."""
        return exact_sizes.settled(Numbers(array, torch.int64))


def _is_laborious(block: Block, shapes: Sequence[Tensor], count: int) -> bool:
    """Whether it takes more than LARGEST_WORK to make so many elements. shapes: the inputs, on the device "meta".

    A product of (a, b) and (b, c) takes a·b·c = √(ab · bc · ac) multiplications; what takes less by that measure is not
    looked at more closely, for torch imports much to count.
    """
    if len(shapes) < 2 or math.sqrt(math.prod(x.numel() for x in shapes) * count) < LARGEST_WORK / 2:
        return False
    with FlopCounterMode(display=False) as counter:
        block.forward(*shapes)
    return counter.get_total_flops() > LARGEST_WORK
