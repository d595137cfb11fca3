"""Which operators of torch and of ONNX become which block: read from the code of the handlers."""

import ast
import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.importers.aten import ATEN
from blockprop.importers.onnx_operators import table


def importing(block: str) -> dict[str, list[str]]:
    """The operators whose handlers name a block, by where they come from; empty if there are none."""
    found = {where: sorted(name for name, blocks in of.items() if block in blocks) for where, of in _all().items()}
    return found if any(found.values()) else {}


@functools.cache
def _all() -> dict[str, dict[str, set[str]]]:
    torch = {name: _named(handler) for name, handler in ATEN.items()}
    onnx = {
        ".".join(filter(None, key)): set().union(*(_named(handler) for handler in versions.values()))
        for key, versions in table._HANDLERS.items()
    }
    return {"torch": torch, "ONNX": onnx}


def _named(handler: Callable[..., Any]) -> set[str]:
    """The blocks that a handler names, itself or in what it uses of its own file."""
    handler = inspect.unwrap(handler)
    uses = _uses(inspect.getmodule(handler))
    blocks: set[str] = set()
    seen: set[str] = set()
    todo = [handler.__name__]
    for value in inspect.getclosurevars(handler).nonlocals.values():  # of a handler that a function made
        if isinstance(value, Block) or (isinstance(value, type) and issubclass(value, Block)):
            blocks.add((value if isinstance(value, type) else type(value)).__name__)
        elif inspect.isfunction(value):
            todo.append(value.__name__)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            own, others = uses.get(name, (set(), set()))
            blocks |= own
            todo += others
    return blocks


@functools.cache
def _uses(module: ModuleType | None) -> dict[str, tuple[set[str], set[str]]]:
    """For each name that a file defines: the blocks in its definition (blocks.X), and the names that stand there."""
    uses: dict[str, tuple[set[str], set[str]]] = {}
    for part in ast.parse(inspect.getsource(module)).body if module else ():
        walked = list(ast.walk(part))
        blocks = {
            node.attr
            for node in walked
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "blocks"
        }
        names = {node.id for node in walked if isinstance(node, ast.Name)}
        if isinstance(part, ast.FunctionDef | ast.ClassDef):
            defined = [part.name]
        elif isinstance(part, ast.Assign | ast.AnnAssign):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            defined = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        for name in defined:
            uses[name] = (blocks & BLOCKS.keys(), names)
    return uses
