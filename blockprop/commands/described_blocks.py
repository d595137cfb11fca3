"""Blocks as people write them on the command line, built-in ones and their own, and numbers to try them on."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.commands.parsing import shape_named
from blockprop.engine.block import Block
from blockprop.errors import BlockpropError, SettingError, suggestion
from blockprop.networks.build import BUILDERS, blocks_in
from blockprop.networks.python_files import line_of, names_python
from blockprop.saving.files import short
from blockprop.saving.storage import LARGEST_CONSTANT

NUMBERS: dict[str, Callable[[tuple[int, ...], torch.Generator], Tensor]] = {
    "normal": lambda shape, generator: torch.randn(shape, generator=generator),
    "positive": lambda shape, generator: 0.1 + torch.rand(shape, generator=generator),
    "bool": lambda shape, generator: torch.rand(shape, generator=generator) < 0.5,
}
"""Of which a random input is made, by name; beside whole numbers such as 0..9."""


def block_named(text: str, own_blocks: str | None = None) -> Block | None:
    """The block that "Conv2d(3, 8, 3)" or "my_blocks.py:Mine(2)" describes; None if the text names no block.

    own_blocks: a Python file whose blocks are known by their names, too; its code is run. Of the text itself only plain
    numbers, text and tuples are read as settings: nothing in it is run.
    Raises SettingError if it looks like a block and there is none of that name, or if the settings do not fit.
    """
    file, description = _split(text, own_blocks)
    name, bracket, _ = description.partition("(")
    own = blocks_in(file) if file and (file == own_blocks or _defines_block(file, name)) else {}
    kinds = blocks.BLOCKS | own
    if not description and len(own) == 1:
        name = description = next(iter(own))
    if name in kinds:
        return _made(kinds[name], description if bracket else f"{name}()", file)
    if bracket and name.isidentifier():
        hint = suggestion(name, kinds) + ("" if file else "; one of your own is in a file: --blocks my_blocks.py")
        raise SettingError(f"there is no block {name!r}{f' in {file}' if file and own else ''}{hint}")
    return None


def blocks_named(texts: Sequence[str] | None, own_blocks: str | None = None) -> tuple[Block, ...] | None:
    """The blocks that the texts describe; none for "none", and None if nothing is said."""
    if not texts:
        return None
    if list(texts) == ["none"]:
        return ()
    transforms = []
    for text in texts:
        block = block_named(text, own_blocks)
        if block is None:
            raise SettingError(f"expected a block such as 'Jitter(8)' as transform, or none, came {text!r}")
        transforms.append(block)
    return tuple(transforms)


def inputs_named(texts: Sequence[str], seed: int) -> list[Tensor]:
    """Random inputs of these shapes: "2,3,8,8", "2,3:positive", "4,7:0..9"; several may stand between semicolons."""
    generator = torch.Generator().manual_seed(seed)
    return [_input_named(part, generator) for text in texts for part in text.split(";")]


def no_block(text: str) -> str:
    """Why a text describes no block, in words."""
    if not names_python(text):
        return f"{text!r} names none"
    file = text if text.endswith(".py") else text.rpartition(":")[0]
    return f"{text!r} names none of {file}, which has {' and '.join(blocks_in(file))}"


def _input_named(text: str, generator: torch.Generator) -> Tensor:
    sizes, _, kind = text.strip().partition(":")
    shape = shape_named(sizes)
    whole = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", kind)
    if whole and int(whole[1]) <= int(whole[2]):
        return torch.randint(int(whole[1]), int(whole[2]) + 1, shape, generator=generator)
    if kind and kind not in NUMBERS:
        raise SettingError(
            f"expected {', '.join(NUMBERS)}, or whole numbers such as 0..9, behind the colon, came {text!r}; "
            "real numbers are float64 in every check"
        )
    return NUMBERS[kind or "normal"](shape, generator)


def file_of(text: str) -> str | None:
    """The Python file of "my_blocks.py:Mine(2)", which would be run; None if the text names none."""
    return _split(text, None)[0]


def _split(text: str, own_blocks: str | None) -> tuple[str | None, str]:
    """The file and the rest of "my_blocks.py:Mine(2)"; of another text `own_blocks` and the text itself."""
    head, bracket, settings = text.partition("(")
    if not names_python(head) or head in BUILDERS:
        return own_blocks, text
    file, _, name = (head, "", "") if head.endswith(".py") else head.rpartition(":")
    return file, f"{name}{bracket}{settings}"


def _defines_block(file: str, name: str) -> bool:
    """Whether a Python file has a block of this name, or is made of blocks alone, without a function build.

    The file is read and not run: it may be one that builds a network, which runs it itself.
    """
    path = Path(file)
    if not path.is_file():
        return False
    try:
        parts = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError):
        return False
    classes = {part.name for part in parts if isinstance(part, ast.ClassDef)}
    functions = {part.name for part in parts if isinstance(part, ast.FunctionDef)}
    return name in classes or (not name and bool(classes) and "build" not in functions)


def _made(kind: type[Block], text: str, file: str | None) -> Block:
    """The block that a call describes."""
    try:
        call: Any = ast.parse(text, mode="eval").body
        settings = [ast.literal_eval(argument) for argument in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, AttributeError, MemoryError, RecursionError) as error:
        raise SettingError(f"{short(text)!r} does not describe a block: {error}") from None
    try:
        _fit(kind, settings, named)
        if file is None and (count := _numbers_of(kind, settings, named)) > LARGEST_CONSTANT:
            raise SettingError(f"{text!r} is a block of {count:,} numbers; {LARGEST_CONSTANT:,} are allowed")
        return kind(*settings, **named)
    except BlockpropError:
        raise
    except Exception as error:  # whatever people's own code raises
        line = line_of(error, Path(file).absolute()) if file else None
        where = f" ({file}, line {line})" if line else ""
        raise SettingError(f"{text!r} does not describe a block: {error}{where}") from None


def _numbers_of(kind: type[Block], settings: Sequence[Any], named: Mapping[str, Any]) -> int:
    """How many it holds, found without making them."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        block = kind(*settings, **named)
    return sum(tensor.numel() for tensor in vars(block).values() if isinstance(tensor, Tensor))


def _fit(kind: type[Block], settings: list[Any], named: Mapping[str, Any]) -> None:
    if kind.__init__ is not object.__init__:
        inspect.signature(kind).bind(*settings, **named)
