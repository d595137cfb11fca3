"""What is loaded when: little for the help and for `import blockprop`; and Ctrl-C while torch is loaded."""

import ast
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import blockprop
from blockprop.cli import COMMANDS
from blockprop.errors import BlockpropError
from tests.processes import started

ROOT = Path(blockprop.__file__).parent
OF_PYTHON = {*sys.stdlib_module_names, "__mp_main__", "_distutils_hack", "sitecustomize", "usercustomize"}
OF_THE_HELP = {"annotated_doc", "blockprop", "markdown_it", "mdurl", "pygments", "rich", "shellingham", "typer"}
"""Packages that may be loaded for the help."""
OF_NAMES = {"blockprop", "filelock", "numpy", "PIL", "pi_heif", "_pi_heif", "safetensors"}
"""Packages that may be loaded for all public names, aside from torch and what it loads: none for tables or plots."""
LIGHT_ROOMS = {"blockprop", "blockprop.errors", "blockprop.version", "blockprop.cli", "blockprop.saving"}
LIGHT_ROOMS |= {"blockprop.saving.interruption", "blockprop.commands"}
LIGHT_ROOMS |= {"blockprop.native", "blockprop.native.library", "blockprop.native.sources"}
"""Modules of ours that the help loads, besides the files of commands that say what they take."""
SAY = "import json; print(json.dumps(sorted(name for name, module in sys.modules.items() if module)))"


def loaded_by(code: str) -> set[str]:
    """The modules that a process has loaded after this code, aside from those that it begins with."""
    code = f"import sys; before = set(sys.modules)\n{code}\n{SAY}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    begun = subprocess.run(
        [sys.executable, "-c", f"import sys; {SAY}"], capture_output=True, text=True, check=True, timeout=100
    )
    return {*json.loads(done.stdout.splitlines()[-1])} - {*json.loads(begun.stdout)}


def packages(modules: set[str]) -> set[str]:
    """Those that the modules belong to, aside from Python itself, of which one file is called after the machine."""
    return {name.partition(".")[0] for name in modules if not name.startswith("_sysconfigdata")} - OF_PYTHON


def test_the_help_loads_nothing_heavy() -> None:
    calls = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
    modules = loaded_by(f"from blockprop.cli import main\nfor words in {calls}: assert main(words) == 0")
    assert packages(modules) <= OF_THE_HELP
    ours = {name for name in modules if name.startswith("blockprop")}
    assert {name for name in ours if not name.startswith("blockprop.commands.")} <= LIGHT_ROOMS


def test_import_blockprop_loads_nothing_heavy() -> None:
    modules = loaded_by("import blockprop; dir(blockprop); hasattr(blockprop, '__wrapped__')")
    assert packages(modules) == {"blockprop"}
    ours = {name for name in modules if name.startswith("blockprop")}
    assert ours <= {"blockprop", "blockprop.errors", "blockprop.version"}


def test_all_public_names_load_what_they_need_at_once() -> None:
    assert packages(loaded_by("from blockprop import *") - loaded_by("import torch")) <= OF_NAMES


def declared() -> dict[str, str]:
    """{public name: its file} as type checkers see it."""
    (block,) = [
        node
        for node in ast.parse((ROOT / "__init__.py").read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {name.name: str(node.module) for node in imports for name in node.names}


def test_each_public_name_is_where_type_checkers_see_it() -> None:
    homes = declared()
    assert sorted([*homes, "__version__"]) == sorted(blockprop.__all__)
    for name, home in homes.items():
        found = getattr(importlib.import_module(home), name)
        assert getattr(blockprop, name) is found, name


def test_names_and_rooms_are_completed() -> None:
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert {*blockprop.__all__, *rooms, "errors", "__file__"} <= {*dir(blockprop)}
    assert "import_module" not in dir(blockprop)
    for room in rooms:
        assert getattr(blockprop, room) is importlib.import_module(f"blockprop.{room}")


def test_a_misspelled_name_has_near_names() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Netwrk'; did you mean 'Network'") as caught:
        _ = blockprop.Netwrk  # type: ignore[attr-defined]
    assert isinstance(caught.value, BlockpropError)
    assert not hasattr(blockprop, "__wrapped__")
    with pytest.raises(ImportError):
        from blockprop import Netwrk  # type: ignore[attr-defined] # noqa: F401


STRUCK = """
import os, signal, sys
class Watching:
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), {signal})
sys.meta_path.insert(0, Watching())
from blockprop.__main__ import run
run()
"""
"""Sends itself a signal when it begins to load a module."""


def struck(name: str, arguments: Sequence[str], number: int = signal.SIGINT) -> tuple[int, str, str]:
    """(exit code, standard output, standard error)"""
    command = [sys.executable, "-c", STRUCK.format(name=name, signal=int(number)), *arguments]
    with started(command, env=os.environ | {"PYTHONPATH": str(ROOT.parent)}) as process:
        said, told = process.communicate(timeout=100)
    return process.returncode, said, told


@pytest.mark.parametrize(
    "name", ["typer", "blockprop.commands.train", "pydantic", "torch", "torch.nn", "torch.optim.adam"]
)
def test_ctrl_c_while_it_is_loaded_is_said_in_a_line(name: str, tmp_path: Path) -> None:
    arguments = ["descend", "x**2", "--from", "1", "--out", str(tmp_path / "path.png")]
    assert struck(name, arguments) == (130, "", "blockprop: interrupted\n")


def test_other_signals_while_it_is_loaded() -> None:
    arguments = ["train", "digits", "--json"]
    assert struck("torch", arguments, signal.SIGTERM) == (143, '{"error": "terminated"}\n', "blockprop: terminated\n")
