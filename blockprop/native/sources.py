"""What the library of kernels is built from: the files in C, the instruction sets they are compiled for, the flags."""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "kernels.library"
"""Not .so: what walks through the package to import all of it would take it for a module."""
SWITCH = "BLOCKPROP_NATIVE"
"""The environment variable: 0 builds or uses no kernels; the name of a set asks for this one."""
REBUILD = "python -m blockprop.native.building"
SETS = {
    "avx512": ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "bmi2"),
    "avx2": ("avx2", "fma", "bmi2"),
    "portable": (),
}
"""{set: what a CPU must have for it, as compilers and /proc/cpuinfo name it}, the fastest first."""
BASELINES = {"x86_64": "x86-64", "aarch64": "armv8-a"}
"""What every CPU of a kind has, whatever the compiler would take by itself."""
FLAGS = (
    *("-std=gnu11", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno"),
    "-fvisibility=protected",  # found by ctypes, and never taken from another library
)
"""Of all sets. Never -ffast-math: NaN and infinity stay what they are."""


def is_supported() -> bool:
    """Whether kernels are built on this system at all; nobody has tried the others."""
    return sys.platform == "linux"


def sets_here() -> list[str]:
    """The sets that there are for CPUs of this kind, the fastest first."""
    return list(SETS) if platform.machine() == "x86_64" else ["portable"]


def files() -> list[Path]:
    """The files in C."""
    return sorted(FOLDER.glob("*.c"))


def fingerprint() -> str:
    """Of all that the library is built from; it stands in the library, too."""
    digest = hashlib.sha256()
    for path in [*files(), *sorted(FOLDER.glob("*.h")), Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_current(library: Path = LIBRARY) -> bool:
    """Whether the library is there and was built from these very files; nothing in it is run for that."""
    return library.is_file() and fingerprint().encode() in library.read_bytes()
