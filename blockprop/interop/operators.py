"""ATen operators as plain data: which may be called by name, and calls of them that JSON can hold.

A network file may come from a stranger and name any operator of torch. Only those are called that stand in the list of
allowed.py, and of their overloads those that compute tensors from tensors and numbers: none that changes its arguments,
takes a device or a random generator, or text but for that which chooses a way to compute.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload, OpOverloadPacket

from blockprop.blocks.sizes import checked, size_of
from blockprop.errors import SettingError, ShapeError, suggestion
from blockprop.interop.allowed import ALLOWED

ORDINARY = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
"""Types of numbers; those left out are torch's experiments and quantized ones, of which most kernels know nothing."""
NAMED: dict[str, dict[str, Any]] = {
    "dtype": {str(v).removeprefix("torch."): v for v in ORDINARY},
    "memory_format": {
        str(v).removeprefix("torch."): v for v in vars(torch).values() if isinstance(v, torch.memory_format)
    },
}
"""What a call names in text: {"dtype": "float32"}, {"memory_format": "channels_last"}."""
PLACEHOLDERS = ("input", "size", *NAMED)
TEXTS = ("approximate", "equation", "indexing", "mode", "norm", "padding", "reduce", "side", "UPLO")
"""Arguments that choose by text how an operator computes. Other texts, such as names of files, are refused."""
LARGEST = 2**31
"""Sizes and places in a call are below this, but for TO_THE_END: kernels of torch multiply them without looking."""
TO_THE_END = 2**63 - 1
"""What torch.export writes for the end of a slice that has none."""
LONGEST = 1000
"""Entries of a list, and characters of a text, in a call."""


def operator_named(title: str) -> OpOverload:
    """The operator "aten.<name>.<overload>". Raises SettingError if there is none, or it may not be called."""
    if not isinstance(title, str):
        raise SettingError(f"expected the name of an operator such as 'aten.cumsum.default', came {title!r}")
    return _operator_named(title)


@functools.lru_cache(1000)
def _operator_named(title: str) -> OpOverload:
    match = re.fullmatch(r"aten\.(\w+)\.(\w+)", title, re.ASCII)
    if not match:
        raise SettingError(f"expected the name of an operator such as 'aten.cumsum.default', came {title[:80]!r}")
    packet = getattr(torch.ops.aten, match[1], None)
    if not isinstance(packet, OpOverloadPacket):
        raise SettingError(f"torch has no operator 'aten.{match[1]}'{suggestion(match[1], dir(torch.ops.aten))}")
    operator = getattr(packet, match[2], None)
    if not isinstance(operator, OpOverload):
        raise SettingError(f"torch has no operator {title!r}{suggestion(match[2], packet.overloads())}")
    if reason := _objection(operator):
        raise SettingError(f"the operator {title!r} cannot be a block: {reason}")
    return operator


def _objection(operator: OpOverload) -> str:
    """Why a network must not call it; nothing if it may."""
    schema, name = operator._schema, operator._schema.name.removeprefix("aten::")
    kinds = {argument.name: str(argument.real_type) for argument in schema.arguments}
    results = [str(result.type) for result in schema.returns]
    if schema.is_mutable or torch.Tag.out in operator.tags:
        return "it changes its arguments"
    if name not in ALLOWED:
        return "it is not among those that are known to check their arguments (blockprop/interop/allowed.py)"
    if not torch._C._dispatch_has_kernel(operator.name()):
        return "it is one of torch's scripts, and no kernel"
    for argument, kind in kinds.items():
        if not (_innermost(kind) in _FITS or (_innermost(kind) == "str" and argument in TEXTS)):
            return f"its argument {argument!r} is of the type {kind}, and tensors and numbers alone are allowed"
    if not any(_innermost(kind) == "Tensor" for kind in kinds.values()):
        return "it takes no tensor"
    if not results or (set(results) != {"Tensor"} and results != ["List[Tensor]"]):
        return f"it returns {', '.join(results) or 'nothing'}, and tensors alone are allowed"
    return ""


def result_count(operator: OpOverload) -> int | None:
    """How many tensors the operator returns; None if that depends on its arguments (a list)."""
    results = operator._schema.returns
    return None if str(results[0].type) == "List[Tensor]" else len(results)


def random_state(operator: OpOverload, device: torch.device) -> tuple[Tensor, Tensor | None] | None:
    """Where torch's random numbers stand, if the operator draws any: propagate has to draw the same."""
    if torch.Tag.nondeterministic_seeded not in operator.tags:
        return None
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


@contextmanager
def random_numbers(state: tuple[Tensor, Tensor | None] | None, device: torch.device) -> Iterator[None]:
    """Draw from that state inside, and go on as if nothing had been drawn."""
    if state is None:
        yield
        return
    with torch.random.fork_rng([] if state[1] is None else [device]):
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], device)
        yield


def check_call(operator: OpOverload, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> None:
    """SettingError unless the operator takes these arguments: numbers, None, lists and placeholders.

    {"input": i} stands for the i-th tensor, {"size": formula} for a size of the tensors (see blocks/sizes.py),
    {"dtype": name} and {"memory_format": name} for those of torch.
    """
    schema = operator._schema
    by_place = [argument for argument in schema.arguments if not argument.kwarg_only]
    if len(arguments) > len(by_place):
        raise SettingError(f"{schema} takes {len(by_place)} arguments by place, not {len(arguments)}")
    values = {argument.name: value for argument, value in zip(by_place, arguments, strict=False)}
    named = {argument.name: argument for argument in schema.arguments}
    for name in keywords:
        if name in values or name not in named:
            raise SettingError(f"{schema} has no {name!r} left to be given as a keyword")
    values |= keywords
    for name, argument in named.items():
        if name in values and not (_fits(values[name], str(argument.real_type)) or _is_text(name, values[name])):
            raise SettingError(f"{name!r} of {schema} must be {argument.real_type}, came {repr(values[name])[:160]}")
        if name not in values and not argument.has_default_value():
            raise SettingError(f"{schema} needs {name!r}, which is not given")


def count_inputs(value: Any) -> int:
    """How many inputs the placeholders in it need. SettingError if one is left out."""
    used = set(_inputs_in(value))
    if used != set(range(len(used))):
        raise SettingError(f"expected placeholders for the inputs 0, 1, 2 …, came {', '.join(map(str, sorted(used)))}")
    return len(used)


def _inputs_in(value: Any) -> list[int]:
    if isinstance(value, list | tuple):
        return [i for item in value for i in _inputs_in(item)]
    if not isinstance(value, dict):
        return []
    if _placeholder(value) == "size":
        return [ord(letter) - ord("a") for letter in re.findall(r"[a-z](?=\d)", str(value["size"]))]
    return [value["input"]] if _placeholder(value) == "input" else []


def filled(value: Any, inputs: Sequence[Tensor]) -> Any:
    """The value with tensors, sizes and torch's constants in place of their placeholders."""
    if isinstance(value, tuple):
        return [filled(item, inputs) for item in value]
    if isinstance(value, dict):
        kind = _placeholder(value)
        named = value[kind]
        return inputs[named] if kind == "input" else _size(named, inputs) if kind == "size" else NAMED[kind][named]
    return value


def _size(formula: str | int, inputs: Sequence[Tensor]) -> int:
    size = size_of(formula, inputs)
    if not -LARGEST <= size < LARGEST:
        raise ShapeError(f"the size {formula!r} is {str(size)[:40]} here; {LARGEST - 1} is the largest")
    return size


def as_tuples(value: Any) -> Any:
    """The value with tuples in place of lists, as JSON gives them."""
    return tuple([as_tuples(item) for item in value]) if isinstance(value, list | tuple) else value


def _placeholder(value: Any) -> str:
    """Its only key: "input", "dtype" …; nothing if it is no placeholder."""
    return next(iter(value)) if isinstance(value, dict) and len(value) == 1 and set(value) <= set(PLACEHOLDERS) else ""


def _is_whole(value: Any, largest: int = LARGEST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -largest <= value < largest


def _is_size(value: Any) -> bool:
    if _placeholder(value) == "size":
        return isinstance(checked(value["size"]), str | int)
    return _is_whole(value) or (value == TO_THE_END and not isinstance(value, float))


def _is_number(value: Any) -> bool:
    """A number to compute with, which may be as large as torch can hold."""
    return isinstance(value, float) or _is_whole(value, 2**63) or _is_size(value)


def _is_input(value: Any) -> bool:
    return _placeholder(value) == "input" and _is_whole(value["input"]) and value["input"] >= 0


def _is_named(kind: str, value: Any) -> bool:
    return _placeholder(value) == kind and isinstance(value[kind], str) and value[kind] in NAMED[kind]


_FITS: dict[str, Callable[[Any], bool]] = {  # for each type in a schema, what a call may have there
    "Tensor": lambda value: _is_input(value) or _is_number(value),
    "int": _is_size,
    "float": _is_number,
    "bool": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, bool) or _is_number(value),
    "ScalarType": functools.partial(_is_named, "dtype"),
    "MemoryFormat": functools.partial(_is_named, "memory_format"),
}


def _fits(value: Any, kind: str) -> bool:
    if match := re.fullmatch(r"Optional\[(.*)\]", kind):
        return value is None or _fits(value, match[1])
    if match := re.fullmatch(r"List\[(.*)\]", kind):
        return isinstance(value, tuple) and len(value) <= LONGEST and all(_fits(item, match[1]) for item in value)
    return kind in _FITS and _FITS[kind](value)


def _is_text(name: str, value: Any) -> bool:
    return name in TEXTS and isinstance(value, str) and len(value) <= LONGEST


def _innermost(kind: str) -> str:
    """What a type is made of: Tensor for Optional[List[Tensor]]."""
    return re.sub(r"(Optional|List)\[|\]", "", kind)
