"""How long threads spin is limited before torch is loaded, unless the user has said how they wait."""

import os
import subprocess
import sys

import pytest

SAID = """
import os, subprocess, sys
def say():
    subprocess.run([sys.executable, "-S", "-c", "import os; print(os.environ.get('GOMP_SPINCOUNT'))"])
    os._exit(0)
"""
"""Asks a process of its own, which sees what a library sees that is loaded now, and ends."""
WATCHED = f"""{SAID}
class Watching:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            say()
sys.meta_path.insert(0, Watching())
"""
"""Says what is set when torch is imported."""
LOADED = f"""{SAID}
import types
sys.modules["torch"] = types.ModuleType("torch")
import blockprop
say()
"""
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_")


def spins(code: str, **environment: str) -> str:
    """GOMP_SPINCOUNT, as torch finds it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env=inherited | environment
    ).stdout.strip()


@pytest.mark.parametrize(
    "first",
    [
        "import blockprop; blockprop.Network",
        "import blockprop, torch",
        "from blockprop.errors import BlockpropError; import torch",
        "from blockprop import fit",
        "from blockprop.blocks import Linear",
        "from blockprop.cli import main; main(['info', 'digits'])",
        "import runpy; sys.argv[1:] = ['info', 'digits']; runpy.run_module('blockprop', run_name='__main__')",
    ],
)
def test_a_limit_is_set_before_torch_is_loaded(first: str) -> None:
    assert int(spins(WATCHED + first)) > 0


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "KMP_BLOCKTIME"])
def test_who_says_how_threads_wait_is_left_alone(name: str) -> None:
    assert spins(WATCHED + "import blockprop, torch", **{name: "passive"}) == "None"


def test_who_says_how_long_they_spin_is_left_alone() -> None:
    assert spins(WATCHED + "import blockprop, torch", GOMP_SPINCOUNT="7") == "7"


def test_where_torch_is_loaded_already_nothing_is_set() -> None:
    assert spins(LOADED) == "None"
