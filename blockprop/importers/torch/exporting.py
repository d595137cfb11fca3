"""torch.export, asked so that it neither warns nor logs, and leaves torch's settings as they are."""

import inspect
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.errors import SettingError
from blockprop.importers.torch.twin import Twin

Program = torch.export.ExportedProgram

_plain_response_norm = F.local_response_norm


@torch.library.custom_op("blockprop::local_response_norm", mutates_args=())
def _response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """One operator for what torch composes of nine, with sizes among their arguments that make an export slow."""
    return _plain_response_norm(input, size, alpha, beta, k)


@_response_norm.register_fake
def _(input: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.empty_like(input)


class Exporter:
    """Exports of one module at different sizes of its inputs.

    names: of the last inputs, which it takes as keywords   output_count: how many tensors it gives when it is called
    """

    def __init__(self, twin: Twin, inputs: Sequence[Tensor], names: Sequence[str], output_count: int):
        self.twin, self.inputs, self.names, self.output_count = twin, inputs, list(names), output_count

    def static(self, sizes: Sequence[tuple[int, ...]]) -> Program:
        """The graph for inputs of exactly these sizes."""
        return self._export(sizes, None)

    def dynamic(
        self, sizes: Sequence[tuple[int, ...]], axes: Iterable[tuple[int, int]]
    ) -> tuple[Program, set[tuple[int, int]]]:
        """The graph with formulas for the sizes of these (input, axis), and which of them are free in it."""
        wanted: list[dict[int, Any]] = [{} for _ in self.inputs]
        for place, axis in axes:
            wanted[place][axis] = torch.export.Dim.AUTO
        program = self._export(sizes, wanted)
        free = set()
        for i, value in enumerate(input_values(program)):
            free |= {(i, axis) for axis in wanted[i] if _is_free(value.shape[axis])}
        return program, free

    def accepts(self, sizes: Sequence[tuple[int, ...]]) -> bool:
        """Whether the module runs on inputs of these sizes. Nothing is computed: fake tensors have sizes only."""
        from torch._subclasses.fake_tensor import FakeTensorMode  # late, because it takes a second

        if any(size < 1 for shape in sizes for size in shape):
            return False
        examples = self._given(sizes)
        try:
            with (
                self.twin.fresh() as module,
                FakeTensorMode(allow_non_fake_inputs=True) as mode,
                torch.no_grad(),
                _undisturbed(),
            ):
                arguments, keywords = self._parted([mode.from_tensor(x) for x in examples])
                module(*arguments, **keywords)
        except Exception:  # the module refuses a size in whatever way it likes
            return False
        return True

    def _export(self, sizes: Sequence[tuple[int, ...]], axes: list[dict[int, Any]] | None) -> Program:
        arguments, keywords = self._parted(self._given(sizes))
        with self.twin.fresh() as module, _undisturbed():
            shapes: Any = None
            if axes is not None:
                positional = list(inspect.signature(module.forward).parameters)[: len(arguments)]
                shapes = dict(zip([*positional, *self.names], axes, strict=True)) if self.names else tuple(axes)
            program = torch.export.export(module, arguments, keywords, dynamic_shapes=shapes, strict=False)
        count = sum(isinstance(value, Tensor) for value in output_values(program))
        if count != self.output_count:
            hooks = f" It calls hooks: {', '.join(self.twin.hooks[:5])}." if self.twin.hooks else ""
            raise SettingError(
                f"{self.twin.title} gives {self.output_count} tensors when it is called, and {count} when torch.export "
                f"reads it: what it collects on the side cannot be followed.{hooks} Let its forward return them itself"
            )
        return program

    def _given(self, sizes: Sequence[tuple[int, ...]]) -> list[Tensor]:
        """The inputs, or zeros in another size: while a module is exported, no number is computed with."""
        return [
            x if tuple(x.shape) == size else torch.zeros(size, dtype=x.dtype, device=x.device)
            for x, size in zip(self.inputs, sizes, strict=True)
        ]

    def _parted(self, tensors: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        count = len(tensors) - len(self.names)
        return tuple(tensors[:count]), dict(zip(self.names, tensors[count:], strict=True))


def input_values(program: Program) -> list[Tensor]:
    """The tensors that stand for the inputs in the graph."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [value for value in values if isinstance(value, Tensor)]


def output_values(program: Program) -> list[Any]:
    """What the graph says of its outputs: tensors without numbers, or plain values."""
    (last,) = [node for node in program.graph.nodes if node.op == "output"]
    outputs = last.args[0][-len(program.graph_signature.user_outputs) :] if program.graph_signature.user_outputs else []
    return [node.meta.get("val") if hasattr(node, "meta") else node for node in outputs]


def _is_free(size: Any) -> bool:
    """Whether a size is a symbol by itself: neither a number that torch found out nor, say, twice a symbol."""
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None and bool(size.node.expr.is_Symbol)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Sizes that do not fit are tried on purpose, so nothing need be logged; and the state of torch is put back."""
    logger, fast = logging.getLogger("torch"), torch.backends.mha.get_fastpath_enabled()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    F.local_response_norm = _response_norm
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer of a transformer: nothing to see
    try:
        with warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        F.local_response_norm = _plain_response_norm
        logger.setLevel(level)
