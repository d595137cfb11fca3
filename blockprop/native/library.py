"""The library of kernels: found, checked against its sources, and loaded when it is first asked for.

    kernels = library()
    if kernels is not None:  # else torch does it
        convolve = kernels.function("convolve", ctypes.c_void_p, ctypes.c_int64)
        convolve(x.data_ptr(), x.numel())

After a change of a file in C: `python -m blockprop.native.building`. The tests do it by themselves.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from blockprop.errors import SettingError
from blockprop.native.sources import LIBRARY, REBUILD, SETS, SWITCH, is_current, is_supported, sets_here

CPU_FACTS = Path("/proc/cpuinfo")
TORCH_TAKES = {"AVX512": "avx512", "AVX2": "avx2"}
"""What torch calls its own instruction sets."""
LOWERED = "ATEN_CPU_CAPABILITY"
"""The variable that makes torch use lower ones."""


class Library(NamedTuple):
    """The kernels in one instruction set, which this machine has."""

    file: ctypes.CDLL
    set: str

    def function(self, name: str, *arguments: type[Any], returns: type[Any] | None = None) -> Callable[..., Any]:
        """The exported function NAME(name) with the types of its arguments and of what it returns, if anything."""
        found = getattr(self.file, f"{name}_{self.set}")
        found.argtypes, found.restype = arguments, returns
        return found


def library() -> Library | None:
    """The kernels in the fastest set that the CPU has and torch uses; None where torch does all (`status` says why).

    Raises SettingError if BLOCKPROP_NATIVE asks for a set that this machine has not, or for any where none are built.
    """
    import torch  # noqa: F401  which has a say

    name = _set()
    if name is None:
        return None
    file = _opened()
    if not isinstance(file, str):
        return Library(file, name)
    if wanted := os.environ.get(SWITCH):
        raise SettingError(f"{SWITCH}={wanted} asks for native kernels, and there are none: {file}")
    return None


def status() -> str:
    """In words: the set whose kernels are used, or why there are none.

    torch is not loaded for that; without it, the best one counts that the CPU has and ATEN_CPU_CAPABILITY allows.
    Raises SettingError if BLOCKPROP_NATIVE asks for a set that this machine has not.
    """
    name = _set()
    if name is None:
        return f"off ({SWITCH}=0)"
    file = _opened()
    return f"off: {file}" if isinstance(file, str) else name


@cache
def torch_parallel_for() -> int:
    """The address of torch's function that has its own threads work (Parallel in vector.h).

    It returns 0, or 1 after an error in a part, which torch has then printed.
    """
    import torch

    found = ctypes.CDLL(torch._C.__file__).torch_parallel_for
    return ctypes.cast(found, ctypes.c_void_p).value or 0


def usable_sets() -> list[str]:
    """The sets of which this machine has every instruction, and which torch uses, too; the fastest first."""
    able = cpu_extensions()
    names = [name for name in sets_here() if able.issuperset(SETS[name])]
    torch = sys.modules.get("torch")
    taken = torch.backends.cpu.get_cpu_capability() if torch else os.environ.get(LOWERED, "AVX512")
    best = TORCH_TAKES.get(taken.upper(), "portable")
    return [name for name in names if list(SETS).index(name) >= list(SETS).index(best)]


def cpu_extensions() -> frozenset[str]:
    """What every CPU of this machine has and its system lets programs use; nothing where that is not told."""
    try:
        lines = CPU_FACTS.read_text().splitlines()
    except OSError:
        return frozenset()
    each = [frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")]
    return frozenset.intersection(*each) if each else frozenset()


def _set() -> str | None:
    """The set to use, None for none."""
    wanted, usable = os.environ.get(SWITCH, ""), usable_sets()
    if wanted == "0":
        return None
    if wanted in ("", "1"):
        return usable[0]
    if wanted not in usable:
        raise SettingError(
            f"{SWITCH}={wanted}: expected 0 (no native kernels) or a set of instructions that this machine has and "
            f"torch uses here: {', '.join(usable)}"
        )
    return wanted


@cache
def _opened() -> ctypes.CDLL | str:
    """The library, loaded; or why there is none. What was built from other files is not even loaded."""
    if not is_supported():
        return f"native kernels are for Linux, this is {sys.platform}"
    if not LIBRARY.is_file():
        return f"none were built when blockprop was installed; with a C compiler, `{REBUILD}` builds them"
    if not is_current():
        return f"{LIBRARY} was built from other sources; `{REBUILD}` builds it again"
    try:
        return ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        return f"{LIBRARY} cannot be loaded ({error}); `{REBUILD}` builds it again"
