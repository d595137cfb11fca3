"""Functions in people's own Python files: `my_net.py:build`. The file's code is run."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from blockprop.errors import SettingError


def names_python(spec: str) -> bool:
    """Whether the text is "file.py" or "file.py:function"."""
    return spec.endswith(".py") or spec.rpartition(":")[0].endswith(".py")


def call_in(spec: str, default: str, *arguments: Any) -> Any:
    """What the function of "file.py:function" returns for these arguments; `default` names it in "file.py".

    Raises SettingError, with the line, for whatever the file's code raises, and if there is no such file or function.
    """
    name, _, function = (spec, "", default) if spec.endswith(".py") else spec.rpartition(":")
    path = Path(name).absolute()
    if not path.is_file():
        raise SettingError(f"{spec}: the file {name} does not exist")
    listed = ", ".join(map(str, arguments))
    try:
        called = getattr(run_file(path), function, None)
        result = called(*arguments) if callable(called) else None
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        line = line_of(error, path)
        where = f"{name}, line {line}" if line else f"{name}: {function}({listed})"
        raise SettingError(f"{where}: {type(error).__name__}: {error}") from error
    if not callable(called):
        takes = "shape, outputs" if arguments else ""
        raise SettingError(f"{name}: expected a function {function}({takes}), there is none")
    return result


def run_file(path: Path) -> ModuleType:
    """The file's code, run as a module of its own."""
    module_spec = importlib.util.spec_from_file_location(f"blockprop_file_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    sys.path.insert(0, str(path.parent))  # as if the file were run: it may import what lies beside it
    try:
        module_spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def line_of(error: BaseException, path: Path) -> int | None:
    """The last line of the file that had a part in the error."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == path:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return lines[-1] if lines else None
