"""torch.export, asked so that it neither warns nor logs, and leaves torch's settings as they are."""

import inspect
import logging
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

from blockprop.errors import SettingError
from blockprop.importers.torch.formulas import Decision, deciding, leaves_of, tipping
from blockprop.importers.torch.naming import COMPARISONS, IGNORED, operator_name
from blockprop.importers.torch.tracking import LONGEST, VALUE, SizeTracker, tracked
from blockprop.importers.torch.twin import Twin

MOST_POINTS = 6
"""Sizes at which a module decides otherwise, to be tried."""

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
        self._programs: dict[Any, Program] = {}
        self._trackers: dict[Any, SizeTracker] = {}
        """What the module did in its exports."""
        self._accepted: dict[Any, bool] = {}
        self._tried: dict[Any, SizeTracker] = {}
        """What it did without numbers."""

    def static(self, sizes: Sequence[tuple[int, ...]]) -> Program:
        """The graph for inputs of exactly these sizes."""
        key = tuple(sizes)
        if key not in self._programs:
            self._programs[key] = self._export(sizes, None)
        return self._programs[key]

    def deciding(self, sizes: Sequence[tuple[int, ...]], others: Sequence[tuple[int, ...]] = ()) -> str:
        """The line where the module decides by a size: otherwise at the others, or at all if there are none."""
        here = self._decisions(sizes)
        if not others:
            return here[0].place if here else ""
        return deciding(here, self._decisions(others))

    def turning(self, sizes: Sequence[tuple[int, ...]], others: Sequence[tuple[int, ...]]) -> str:
        """The line where it decides otherwise at the others, and then calls other functions, if it has been tried
        there; "" if that may be otherwise when it is exported.
        """
        exported, there = self._trackers.get(tuple(sizes)), self._tried.get(tuple(others))
        if not exported or not there or exported.calls == there.calls or not self.accepts(sizes):
            return ""
        here = self._tried.get(tuple(sizes))  # a module may do something else in an export
        return deciding(here.decisions, there.decisions) if here and here.calls != there.calls else ""

    def _decisions(self, sizes: Sequence[tuple[int, ...]]) -> list[Decision]:
        tracker = self._trackers.get(tuple(sizes))
        return tracker.decisions if tracker else []

    def dynamic(
        self, sizes: Sequence[tuple[int, ...]], axes: Iterable[tuple[int, int]]
    ) -> tuple[Program, set[tuple[int, int]]]:
        """The graph with formulas for the sizes of these (input, axis), and which of them are free in it."""
        wanted: list[dict[int, Any]] = [{} for _ in self.inputs]
        for place, axis in axes:
            wanted[place][axis] = torch.export.Dim.AUTO
        with _ShortFormulas():
            program = self._export(sizes, wanted)
        free = set()
        for i, value in enumerate(input_values(program)):
            free |= {(i, axis) for axis in wanted[i] if _is_free(value.shape[axis])}
        return program, free

    def tipping(self, sizes: Sequence[tuple[int, ...]]) -> list[tuple[int, int, int]]:
        """(input, axis, size): sizes of the inputs with which the module would first decide otherwise."""
        program, key = self._programs.get(tuple(sizes)), tuple(sizes)
        if program is None:
            return []
        places = {node.meta.get(VALUE): i for i, node in enumerate(input_nodes(program))}
        points = []
        for decision in self._decisions(sizes):
            if all(leaf.value in places for leaf in leaves_of(decision.formula)):
                found = tipping(decision, lambda leaf: key[places[leaf.value]][leaf.axis])
                points += [(places[leaf.value], leaf.axis, size) for leaf, size in found]
        return list(dict.fromkeys(points))[:MOST_POINTS]

    def accepts(self, sizes: Sequence[tuple[int, ...]]) -> bool:
        """Whether the module runs on inputs of these sizes. Nothing is computed: its tensors have sizes only."""
        if tuple(sizes) not in self._accepted:
            self._accepted[tuple(sizes)] = all(size > 0 for shape in sizes for size in shape) and self._runs(sizes)
        return self._accepted[tuple(sizes)]

    def _runs(self, sizes: Sequence[tuple[int, ...]]) -> bool:
        """Tried without numbers; where that cannot tell, with torch's fake tensors: they take five times as long."""
        try:
            with (
                self.twin.tried(numbers=False) as module,
                tracked(module, exported=False) as tracker,
                torch.no_grad(),
                _undisturbed(),
                torch.device("meta"),
            ):
                arguments, keywords = self._parted(self._given(sizes, "meta"))
                module(*arguments, **keywords)
            self._tried[tuple(sizes)] = tracker
            return True
        except NotImplementedError:  # there may be an operator that needs numbers
            return self._runs_faked(sizes)
        except Exception as error:  # the module refuses a size in whatever way it likes
            return any(word in str(error) for word in ("meta", "device")) and self._runs_faked(sizes)

    def _runs_faked(self, sizes: Sequence[tuple[int, ...]]) -> bool:
        from torch._subclasses import fake_tensor  # late, because it takes a second

        examples = self._given(sizes)
        try:
            with (
                self.twin.tried() as module,
                fake_tensor.FakeTensorMode(allow_non_fake_inputs=True) as mode,
                torch.no_grad(),
                _undisturbed(),
            ):
                arguments, keywords = self._parted([mode.from_tensor(x) for x in examples])
                module(*arguments, **keywords)
        except fake_tensor.DataDependentOutputException:  # it reads a number of the data: an export may know better
            return True
        except Exception:
            return False
        return True

    def _export(self, sizes: Sequence[tuple[int, ...]], axes: list[dict[int, Any]] | None) -> Program:
        arguments, keywords = self._parted(self._given(sizes))
        tracking: Any = tracked if axes is None else nullcontext
        with self.twin.fresh() as module, tracking(module) as tracker, _undisturbed():
            shapes: Any = None
            if axes is not None:
                positional = list(inspect.signature(module.forward).parameters)[: len(arguments)]
                shapes = dict(zip([*positional, *self.names], axes, strict=True)) if self.names else tuple(axes)
            program = torch.export.export(module, arguments, keywords, dynamic_shapes=shapes, strict=False)
        _without_checks(program.graph)
        if axes is None:
            self._trackers[tuple(sizes)] = tracker
        count = sum(isinstance(value, Tensor) for value in output_values(program))
        if count != self.output_count:
            hooks = f" It calls hooks: {', '.join(self.twin.hooks[:5])}." if self.twin.hooks else ""
            raise SettingError(
                f"{self.twin.title} gives {self.output_count} tensors when it is called, and {count} when torch.export "
                f"reads it: what it collects on the side cannot be followed.{hooks} Let its forward return them itself"
            )
        return program

    def _given(self, sizes: Sequence[tuple[int, ...]], device: str | None = None) -> list[Tensor]:
        """The inputs, or zeros in another size: while a module is exported, no number is computed with."""
        return [
            torch.zeros(size, dtype=x.dtype, device=device or x.device) if device or tuple(x.shape) != size else x
            for x, size in zip(self.inputs, sizes, strict=True)
        ]

    def _parted(self, tensors: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        count = len(tensors) - len(self.names)
        return tuple(tensors[:count]), dict(zip(self.names, tensors[count:], strict=True))


class _ShortFormulas(TorchFunctionMode):
    """Inside, operators whose results have longer formulas as sizes are refused: torch may take hours over them, as it
    takes ten times as long for each layer that makes them three times as long."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for y in results if isinstance(results, tuple | list) else (results,):
            for size in y.shape if isinstance(y, Tensor) else ():
                if isinstance(size, torch.SymInt) and size.node.expr.count_ops() > LONGEST:
                    raise SettingError(f"the formula of a size has more than {LONGEST} operations")
        return results


def input_nodes(program: Program) -> list[fx.Node]:
    """The nodes of the inputs in the graph."""
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    return [node for node in nodes if isinstance(node.meta.get("val"), Tensor)]


def input_values(program: Program) -> list[Tensor]:
    """The tensors that stand for the inputs in the graph."""
    return [node.meta["val"] for node in input_nodes(program)]


def output_values(program: Program) -> list[Any]:
    """What the graph says of its outputs: tensors without numbers, or plain values."""
    (last,) = [node for node in program.graph.nodes if node.op == "output"]
    outputs = last.args[0][-len(program.graph_signature.user_outputs) :] if program.graph_signature.user_outputs else []
    return [node.meta.get("val") if hasattr(node, "meta") else node for node in outputs]


def _without_checks(graph: fx.Graph) -> None:
    """Take out what only checks something, and the comparisons of numbers in the data that are only checked."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and not node.users and operator_name(node) in (*IGNORED, *COMPARISONS, "item"):
            graph.erase_node(node)


def _is_free(size: Any) -> bool:
    """Whether a size is a symbol by itself: neither a number that torch found out nor, say, twice a symbol."""
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None and bool(size.node.expr.is_Symbol)


def _without_code(_: fx.GraphModule) -> None:
    """In place of writing a graph as Python, six times in an export, which is a seventh of it: here no graph is run."""


class ForwardFrames:
    """Where the module stands: what torch keeps of all frames in the end, a sixth of an export by its own way."""

    def __init__(self, frames: list[tuple[str, int, str]]):
        self._frames = frames

    @classmethod
    def extract(cls) -> "ForwardFrames":
        """Those that are running."""
        frames, frame = [], sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_name == "forward":
                frames.append((frame.f_code.co_filename, frame.f_lineno, "forward"))
            frame = frame.f_back  # type: ignore[assignment]
        return cls(frames[::-1])

    def summary(self) -> traceback.StackSummary:
        """As torch.utils._traceback.CapturedTraceback has it."""
        frames = [traceback.FrameSummary(*frame, lookup_line=False) for frame in self._frames]
        return traceback.StackSummary.from_list(frames)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Sizes that do not fit are tried on purpose, so nothing need be logged; and the state of torch is put back."""
    logger, fast = logging.getLogger("torch"), torch.backends.mha.get_fastpath_enabled()
    level, recompile, traceback_kind = logger.level, fx.GraphModule.recompile, fx.proxy.CapturedTraceback
    logger.setLevel(logging.CRITICAL)
    F.local_response_norm = _response_norm
    fx.GraphModule.recompile = _without_code  # type: ignore[method-assign,assignment]
    fx.proxy.CapturedTraceback = ForwardFrames  # type: ignore[misc,assignment]
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole layer of a transformer: nothing to see
    try:
        with warnings.catch_warnings(), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        fx.proxy.CapturedTraceback = traceback_kind  # type: ignore[misc]
        fx.GraphModule.recompile = recompile  # type: ignore[method-assign]
        F.local_response_norm = _plain_response_norm
        logger.setLevel(level)
