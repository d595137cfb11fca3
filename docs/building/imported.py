"""Which operators of torch and of ONNX become which block: read from the handlers and what they use."""

import dis
import functools
import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.importers.aten import ATEN
from blockprop.importers.onnx_operators import table


def importing(block: str) -> dict[str, list[str]]:
    """The operators whose handlers name a block, by where they come from; empty if there are none."""
    found = {
        where: sorted(name for name, blocks in of.items() if block in blocks) for where, of in all_blocks().items()
    }
    return found if any(found.values()) else {}


@functools.cache
def all_blocks() -> dict[str, dict[str, set[str]]]:
    """The blocks that each operator's handlers name: "torch" and "ONNX" → operator → names of blocks."""
    torch = {name: named(name, handler) for name, handler in ATEN.items()}
    onnx = {
        ".".join(filter(None, key)): set().union(*(named(key[1], handler) for handler in versions.values()))
        for key, versions in table._HANDLERS.items()
    }
    return {"torch": torch, "ONNX": onnx}


def named(operator: str, handler: Callable[..., Any]) -> set[str]:
    """The blocks that a handler names, itself or in what it uses of its own file.

    Of a table with an entry for each operator only the operator's own counts, unless no block is found then.
    """
    return _walked(operator, handler, strict=True) or _walked(operator, handler, strict=False)


def _walked(operator: str, handler: Callable[..., Any], strict: bool) -> set[str]:
    blocks: set[str] = set()
    seen: set[int] = set()
    todo: list[Any] = [handler]
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        kind = thing if isinstance(thing, type) else type(thing)
        if issubclass(kind, Block):
            blocks.add(kind.__name__)
        elif isinstance(thing, functools.partial):
            todo += [thing.func, *thing.args, *thing.keywords.values()]
        elif isinstance(thing, dict):
            is_of_operators = all(isinstance(key, str) for key in thing)
            todo += ([thing[operator]] if operator in thing else []) if strict and is_of_operators else thing.values()
        elif isinstance(thing, list | tuple):
            todo += thing
        elif inspect.isfunction(thing) and thing.__module__.startswith("blockprop.importers."):
            for name, attribute in _globals(thing.__code__):
                if name == "blocks":
                    blocks.add(attribute)
                elif _is_of_file(thing, name):
                    todo.append(thing.__globals__[name])
            todo += [cell.cell_contents for cell in thing.__closure__ or ()]
        elif isinstance(thing, type) and thing.__module__.startswith("blockprop.importers."):
            todo += vars(thing).values()
    return blocks & BLOCKS.keys()


def _globals(code: CodeType) -> Iterator[tuple[str, str]]:
    """The global names that a function uses, and the functions inside it, each with the name behind the next dot."""
    steps = list(dis.get_instructions(code))
    for step, after in zip(steps, [*steps[1:], steps[-1]], strict=True):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval, str(after.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner)


def _is_of_file(function: Callable[..., Any], name: str) -> bool:
    """Whether a function's file defines this name, and did not import it."""
    value = function.__globals__.get(name)
    if inspect.isfunction(value) or isinstance(value, type):
        return value.__module__ == function.__module__
    return isinstance(value, dict | list | tuple | functools.partial | Block)
