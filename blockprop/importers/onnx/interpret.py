"""Walk over the operators of an ONNX model, and add blocks for them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onnx import NodeProto, TensorProto
from torch import Tensor

from blockprop.errors import BlockpropError, GraphError, SettingError, UnsupportedError
from blockprop.importers.exact_sizes import FreeSizeError
from blockprop.importers.graph import Flow, Graph
from blockprop.importers.onnx import shape_arithmetic
from blockprop.importers.onnx.bodies import Unfinished
from blockprop.importers.onnx.control import CONTROLS, defined
from blockprop.importers.onnx.model import Model
from blockprop.importers.onnx.order import describe
from blockprop.importers.onnx.shape_arithmetic import ARRANGEMENTS
from blockprop.importers.onnx_calls import OnnxCall, Several, State, Texts
from blockprop.importers.onnx_operators.table import DOMAINS, Operator, attributes_of, find
from blockprop.importers.problems import Problem
from blockprop.saving.files import short

_MISSING: Any = object()
"""Stands for what an unsupported operator would have given, so that the walk can go on and find all of them."""
LONGEST_NAME = 200
CONTROL_TITLES = {"If": ("condition",), "Loop": ("trip count", "condition"), "Scan": ()}
SEQUENCES = {
    *("SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength", "ConcatFromSequence", "Identity"),
    *("Optional", "OptionalHasElement", "OptionalGetElement"),
}
"""Operators that take sequences of tensors."""
MOVES = {*ARRANGEMENTS, "Identity", "Concat"}
"""Operators that move elements, whatever they are."""
RESERVED = ("inputs", "parameters")
"""What these names stand for in a network: all of them."""


class OnnxInterpreter:
    """One walk over a model with its inputs in two trial sizes.

    input_names: the network's for the model's
    steps: how many nodes went well, to tell which of several failed walks came furthest
    """

    def __init__(self, model: Model, trials: Mapping[str, tuple[Tensor, ...]]):
        self.model = model
        self.input_names = {name: f"{name}#2" if name in RESERVED else name for name in trials}
        self.graph = Graph({self.input_names[name]: tensors for name, tensors in trials.items()})
        self.state = State(model.folder)
        self.opsets = model.opsets
        self.problems: list[Problem] = []
        self.steps, self.written = 0, 0
        self.bodies: dict[tuple[int, str], tuple[NodeProto, dict[str, Any], list[NodeProto]]] = {}
        """Graphs inside of nodes, each with its tensors and its nodes in order."""

    def run(self) -> list[Flow]:
        """The outputs. Operators that are not supported are collected in `problems`; then there is no output."""
        values: dict[str, Any] = dict(self.model.tensors)
        for name, flow in zip(self.input_names, self.graph.inputs.values(), strict=True):
            values[name] = Texts(flow) if self.model.inputs[name].is_text else flow
        self.walk(self.model.nodes, values)
        self._note_inputs()
        if self.problems:
            return []
        return [output for name in self.model.outputs for output in self._all_outputs(values[name], name)]

    def _all_outputs(self, value: Any, name: str) -> list[Flow]:
        """An output of the model: one, or those of a sequence."""
        if not isinstance(value, Several):
            return [self._output(value, name)]
        text = f"the output {name!r} is a sequence in its file; its {len(value)} tensors are outputs one by one"
        self.state.notes.append(text)
        return [self._output(one, f"{name}.{i}") for i, one in enumerate(value)]

    def _note_inputs(self) -> None:
        names = [repr(self.input_names[name]) for name, given in self.model.inputs.items() if given.is_text]
        if names:
            text = f"{', '.join(names)} take{'s' * (len(names) == 1)} whole numbers in place of texts: "
            text += f"{_numbered(self.state.vocabulary)}; another number is a text that the model does not know"
            self.state.notes.append(text)

    def _output(self, value: Any, name: str) -> Flow:
        call = OnnxCall(self.graph, clean(name), "output", state=self.state)
        if isinstance(value, Texts):
            names = self.state.vocabulary if value.names is None else value.names
            self.state.notes.append(f"the output {name!r} gives numbers in place of texts: {_numbered(names)}")
            value = value.codes
        flow = call.tensor(value)
        return self.graph.lift(flow)

    def walk(self, nodes: Iterable[NodeProto], values: dict[str, Any]) -> None:
        """Visit the nodes in their order, and put what they give into `values`."""
        for node in nodes:
            outputs = self._visit(node, values)
            for name, value in zip(node.output, outputs, strict=False):
                if isinstance(value, Flow) and value.known is not None and name in self.model.shared:
                    self.state.ties.add(value.key)
                values[name] = value
            self.steps += 1

    def _visit(self, node: NodeProto, values: dict[str, Any]) -> Sequence[Any]:
        domain = DOMAINS.get(node.domain, node.domain)
        missing = (_MISSING,) * len(node.output)
        try:
            inputs = [values[name] if name else None for name in node.input]
            if any(value is _MISSING for value in inputs):
                self._look_up(node, domain)
                return missing
            outputs = self._outputs(node, domain, inputs, values)
        except Unfinished:
            return missing
        except FreeSizeError as error:
            raise error.at(describe(node)) from None
        except (UnsupportedError, SettingError) as error:  # a setting that the block does not take
            self._report(node, domain, str(error))
            return missing
        except BlockpropError as error:
            raise type(error)(f"{describe(node)}: {error}") from error
        except Exception as error:  # whatever a nonsense node sets off in its handler is one and the same to the user
            reason = short(f"{type(error).__name__}: {error}")
            raise GraphError(f"{describe(node)}: its inputs and settings do not fit each other ({reason})") from error
        if len([name for name in node.output if name]) > len(outputs):
            self._report(node, domain, f"only {len(outputs)} of its outputs")
            return missing
        return outputs

    def _look_up(self, node: NodeProto, domain: str) -> Operator | None:
        """The operator; None for one that runs graphs. UnsupportedError if there is none."""
        if not domain and node.op_type in CONTROLS and (node.op_type, self.opsets.get("")) != ("Scan", 8):
            return None
        operator = find(domain, node.op_type, self.opsets.get(domain, 0))
        if isinstance(operator, str):
            raise UnsupportedError(operator or "no block")
        return operator

    def _outputs(self, node: NodeProto, domain: str, inputs: list[Any], values: dict[str, Any]) -> Sequence[Any]:
        try:
            operator = self._look_up(node, domain)
        except UnsupportedError:
            outputs = defined(self, node, domain, inputs)
            if outputs is None:
                raise
            return outputs
        if operator is None:
            titles = {id(value): title for value, title in zip(inputs, CONTROL_TITLES[node.op_type], strict=False)}
            name = clean(node.name or next((output for output in node.output if output), node.op_type))
            call = OnnxCall(self.graph, name, node.op_type, state=self.state, titles=titles)
            return CONTROLS[node.op_type](self, call, node, inputs, values)
        return self._called(node, operator, inputs)

    def _report(self, node: NodeProto, domain: str, why: str) -> None:
        operator = f"{domain}.{node.op_type}" if domain else node.op_type
        opset = self.opsets.get(domain, 0)
        name = node.name or next((output for output in node.output if output), "")
        where = self.model.places.get(next((output for output in node.output if output), ""), "")
        self.problems.append(
            Problem(f"{name!r} ({where})" if where else repr(name), f"{operator} (opset {opset})", why)
        )

    def _called(self, node: NodeProto, operator: Operator, inputs: list[Any]) -> tuple[Any, ...]:
        schema = operator.schema
        if schema and not schema.min_input <= len(inputs) <= schema.max_input:
            raise GraphError(f"it takes {schema.min_input} to {schema.max_input} inputs, not {len(inputs)}")
        if not node.domain.startswith("ai.onnx.ml") and any(isinstance(value, Texts) for value in inputs):
            return self._of_texts(node, operator, inputs)
        if node.op_type not in SEQUENCES and any(isinstance(value, Several) for value in inputs):
            raise UnsupportedError("a sequence of tensors")
        attributes = attributes_of(node, operator)
        outputs = tuple(node.output)
        name = clean(node.name or next((output for output in outputs if output), node.op_type))
        computed = shape_arithmetic.computed(
            node.op_type, inputs, attributes | {"outputs": len(outputs)}, operator.version
        )
        if computed is not None:
            return computed if isinstance(computed, tuple) else (computed,)
        for unknown in attributes.keys() - operator.takes:
            raise UnsupportedError(f"the attribute {unknown!r}")
        titles = _titles(operator, inputs)
        call = OnnxCall(self.graph, name, node.op_type, "", operator.version, outputs, self.state, titles)
        result = operator.handler(call, *inputs, **attributes)
        return result if isinstance(result, tuple) else (result,)

    def _of_texts(self, node: NodeProto, operator: Operator, inputs: list[Any]) -> tuple[Any, ...]:
        """Texts are moved as their numbers are; what would look into them has no block."""
        names = {value.names for value in inputs if isinstance(value, Texts)}
        if node.op_type == "Cast" and attributes_of(node, operator)["to"] == TensorProto.STRING:
            return (inputs[0],)
        if node.op_type not in MOVES or len(names) > 1:
            raise UnsupportedError("texts, which no tensor holds")
        outputs = self._called(node, operator, [v.codes if isinstance(v, Texts) else v for v in inputs])
        return tuple(Texts(output, next(iter(names))) for output in outputs)


def _numbered(names: Sequence[str], most: int = 10) -> str:
    """The texts with their numbers, as many as a sentence holds."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{i} {name!r}" for i, name in enumerate(names[:most])) + rest


def _titles(operator: Operator, inputs: list[Any]) -> dict[int, str]:
    """What the operator calls its inputs, by their ids."""
    names = [value.name for value in operator.schema.inputs] if operator.schema else []
    pairs = list(zip(inputs, names, strict=False))
    return {id(value): name for value, name in reversed(pairs)}  # of one that stands twice the first


def clean(name: str) -> str:
    """A name for a node, without what other names are made with."""
    return re.sub(r"[\s\[\]#]+", "_", name).strip("/_")[:LONGEST_NAME] or "node"
