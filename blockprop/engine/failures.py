"""Where in people's own code something failed: the method, the file, the line."""

import inspect
import sysconfig
import traceback
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from blockprop.engine.block import Block
from blockprop.errors import BlockpropError, GradientError

PACKAGE = Path(__file__).parent.parent
LIBRARIES = (str(PACKAGE), str(Path(torch.__file__).parent), sysconfig.get_path("stdlib"))


class MethodFailed(GradientError):
    """A method of a block raised an error, or returned what it must not; the message names its file and line."""


def failed(block: Block, method: str, error: BaseException) -> MethodFailed:
    """The error as a sentence: which method of the block, and where in its file."""
    line = line_of(error) or place_of(block, method)
    reason = (str(error).splitlines() or [""])[0]
    kind = "" if isinstance(error, BlockpropError) else f"{type(error).__name__}: "
    return MethodFailed(f"{method} fails in {line}: {kind}{reason}{_hint(reason)}")


def line_of(error: BaseException) -> str | None:
    """ "pool.py, line 12": the last line of people's own code that had a part in the error; None if none had."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_own(frame.filename)]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else None


def place_of(block: Block, method: str) -> str:
    """ "pool.py, line 9": where a block's method is written, or its class if that only inherits it from `Block`."""
    code: Any = getattr(getattr(type(block), method, None), "__code__", None)
    if getattr(type(block), method, None) is getattr(Block, method, None) or not isinstance(code, CodeType):
        return _place_of_class(type(block))
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}"


def _place_of_class(kind: type[Block]) -> str:
    try:
        return f"{Path(inspect.getsourcefile(kind) or '').name}, line {inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):  # typed in at a prompt
        return kind.__name__


def failure_in_own_code(error: BaseException) -> str:
    """The error in words, if it arose in people's own code and is no refusal of theirs; raises it again otherwise."""
    line = None if isinstance(error, BlockpropError) else line_of(error)
    if line is None:
        raise error
    return f"{line}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def is_own(file: str) -> bool:
    """Whether a file is people's own: neither blockprop's nor torch's, nor another library's."""
    return not file.startswith(LIBRARIES) and "site-packages" not in file


def _hint(reason: str) -> str:
    if "dtype" in reason.lower() or ("Double" in reason and "Float" in reason):
        return " (the check runs in float64: make new tensors in the dtype of the input)"
    return ""
