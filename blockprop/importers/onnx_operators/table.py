"""The table of operators: (domain, name, since-version) → handler. A handler's file is one subject; add one there.

    @operator("LeakyRelu", 6, 16)
    def leaky_relu(call, x, *, alpha): return call.add(blocks.LeakyReLU(alpha), x)

A handler takes the operator's inputs in order (None for one that is left out) and its attributes by name, with ONNX'
own defaults. It returns the output, or a tuple of them.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto

from blockprop.errors import GraphError
from blockprop.importers.calls import Handler

DOMAINS = {"": "", "ai.onnx": ""}
"""Two names for ONNX' own domain."""

_HANDLERS: dict[tuple[str, str], dict[int, Handler]] = {}
_WITHDRAWN: set[tuple[str, str]] = set()


def operator(name: str, *versions: int, domain: str = "", withdrawn: bool = False) -> Callable[[Handler], Handler]:
    """Put a handler into the table for these versions: the opsets in which the operator was defined anew.

    withdrawn: the operator once was in the standard, and has left it without a trace.
    """

    def put(handler: Handler) -> Handler:
        _HANDLERS.setdefault((domain, name), {}).update(dict.fromkeys(versions, handler))
        if withdrawn:
            _WITHDRAWN.add((domain, name))
        return handler

    return put


def supported() -> dict[str, tuple[int, ...]]:
    """The versions of each operator that the table has; those of other domains as "ai.onnx.ml.Scaler"."""
    titles = {key: ".".join(filter(None, key)) for key in _HANDLERS}
    return {titles[key]: tuple(sorted(versions)) for key, versions in sorted(_HANDLERS.items())}


class Operator(NamedTuple):
    """A handler, and what ONNX says about the operator at the model's opset."""

    handler: Handler
    version: int
    schema: Any
    """None for a withdrawn operator."""
    takes: frozenset[str]
    """The attributes that the handler knows."""


@functools.cache
def find(domain: str, name: str, opset: int) -> Operator | str:
    """The operator's newest version up to the opset, or why there is none."""
    versions = _HANDLERS.get((domain, name), {})
    if (domain, name) in _WITHDRAWN:
        version, schema = max((v for v in versions if v <= opset), default=0), None
    else:
        try:
            schema = onnx.defs.get_schema(name, opset, domain)
        except Exception as error:  # ONNX' own SchemaError, which it does not show
            return f"no such operator in ONNX {onnx.__version__}" if "No schema" in str(error) else str(error)
        if schema.deprecated and schema.since_version not in versions:
            return f"withdrawn in opset {schema.since_version}"
        version = schema.since_version
    handler = versions.get(version)
    if handler is None:
        return f"version {version}; there are {', '.join(map(str, sorted(versions)))}" if versions else ""
    parameters = inspect.signature(handler).parameters.values()
    takes = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if schema and any(p.kind is p.VAR_KEYWORD for p in parameters):
        takes |= set(schema.attributes)
    return Operator(handler, version, schema, frozenset(takes))


def attributes_of(node: NodeProto, operator: Operator) -> dict[str, Any]:
    """The node's attributes and the defaults of the rest. GraphError for one that the operator does not have."""
    expected_of: dict[str, Any] = operator.schema.attributes if operator.schema else dict.fromkeys(operator.takes)
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        expected = expected_of.get(attribute.name, 0)
        if expected == 0:
            raise GraphError(f"{node.op_type} has no attribute {attribute.name!r}")
        if expected is not None and int(expected.type.value) != attribute.type:
            kind = AttributeProto.AttributeType.Name
            raise GraphError(
                f"{attribute.name} should be {kind(int(expected.type.value))}, and is {kind(attribute.type)}"
            )
        values[attribute.name] = _value(attribute)
    for name in operator.takes - values.keys():
        if operator.schema and name in expected_of and expected_of[name].default_value.type:
            values[name] = _value(expected_of[name].default_value)
        elif operator.schema and name in expected_of and expected_of[name].required:
            raise GraphError(f"{node.op_type} lacks the attribute {name!r}")
    return values


def _value(attribute: AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list) and value and isinstance(value[0], bytes):
        return [item.decode(errors="replace") for item in value]
    if attribute.type == AttributeProto.FLOAT:
        return _simple(value)
    if attribute.type == AttributeProto.FLOATS:
        return [_simple(item) for item in value]
    return list(value) if attribute.type == AttributeProto.INTS else value


def _simple(number: float) -> float:
    """The shortest decimal that rounds to the file's float32: 1e-05, where that is 9.999999747378752e-06."""
    return float(str(np.float32(number)))
