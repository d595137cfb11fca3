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
from blockprop.importers.onnx.model import Model, local_tensors
from blockprop.importers.onnx.order import branches, describe, needed_nodes
from blockprop.importers.onnx.shape_arithmetic import ARRANGEMENTS
from blockprop.importers.onnx_calls import OnnxCall, State, Texts
from blockprop.importers.onnx_operators.table import DOMAINS, Operator, attributes_of, find
from blockprop.importers.problems import Problem
from blockprop.saving.files import short

_MISSING: Any = object()
"""Stands for what an unsupported operator would have given, so that the walk can go on and find all of them."""
LONGEST_NAME = 200
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
        self.problems: list[Problem] = []
        self.steps = 0

    def run(self) -> list[Flow]:
        """The outputs. Operators that are not supported are collected in `problems`; then there is no output."""
        values: dict[str, Any] = dict(self.model.tensors)
        for name, flow in zip(self.input_names, self.graph.inputs.values(), strict=True):
            values[name] = Texts(flow) if self.model.inputs[name].is_text else flow
        self._walk(self.model.nodes, values)
        self._note_inputs()
        if self.problems:
            return []
        return [self._output(values[name], name) for name in self.model.outputs]

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

    def _walk(self, nodes: Iterable[NodeProto], values: dict[str, Any]) -> None:
        for node in nodes:
            outputs = self._visit(node, values)
            for name, value in zip(node.output, outputs, strict=False):
                if isinstance(value, Flow) and value.known is not None and name in self.model.shared:
                    self.state.ties.add(value.key)
                values[name] = value
            self.steps += 1

    def _visit(self, node: NodeProto, values: dict[str, Any]) -> tuple[Any, ...]:
        domain = DOMAINS.get(node.domain, node.domain)
        missing = (_MISSING,) * len(node.output)
        try:
            operator = find(domain, node.op_type, self.model.opsets.get(domain, 0))
            if isinstance(operator, str) and (domain or node.op_type != "If"):
                self._report(node, domain, operator or "no block")
                return missing
            inputs = [values[name] if name else None for name in node.input]
            if any(value is _MISSING for value in inputs):
                return missing
            if node.op_type == "If" and not domain:
                return self._branch(node, inputs, values)
            assert not isinstance(operator, str)
            outputs = self._called(node, operator, inputs)
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

    def _report(self, node: NodeProto, domain: str, why: str) -> None:
        operator = f"{domain}.{node.op_type}" if domain else node.op_type
        opset = self.model.opsets.get(domain, 0)
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

    def _branch(self, node: NodeProto, inputs: list[Any], values: dict[str, Any]) -> tuple[Any, ...]:
        """The outputs of the branch that a constant condition chooses."""
        titles = {id(inputs[0]): "condition"}
        call = OnnxCall(self.graph, clean(node.name), node.op_type, state=self.state, titles=titles)
        chosen = bool(call.number_in(inputs[0]))
        wanted = "then_branch" if chosen else "else_branch"
        graphs = {a.name: a.g for a in node.attribute if a.HasField("g")}
        if wanted not in graphs or not branches(node):
            raise GraphError(f"it has no {wanted}")
        graph = graphs[wanted]
        names = [output.name for output in graph.output]
        inside = {**values, **local_tensors(graph, self.model.folder)}
        self._walk(needed_nodes(graph.node, names, set(inside)), inside)
        return tuple(inside[name] for name in names)


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
