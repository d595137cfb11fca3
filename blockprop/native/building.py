"""Builds the library of kernels: at installation, and by `python -m blockprop.native.building` when its files change.

Each file in C is compiled for each instruction set, and all of them become one library that needs neither Python's
headers nor torch's. It runs on any CPU of its kind: the one of the machine that builds does not count.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from blockprop.errors import NativeError
from blockprop.native.sources import (
    BASELINES,
    FLAGS,
    FOLDER,
    LIBRARY,
    SETS,
    SWITCH,
    files,
    fingerprint,
    is_supported,
    sets_here,
)

ZIG = "ziglang==0.17.0"
"""A compiler that comes as a package, for machines without one."""
ZIG_COMMAND = [sys.executable, "-m", "ziglang", "cc"]
OLDEST_LIBC = "2.28"
"""What a library that it builds asks for, as torch does."""


def is_wanted() -> bool:
    """Whether kernels are to be built on this machine."""
    return is_supported() and os.environ.get(SWITCH) != "0"


def requirements() -> list[str]:
    """The compiler to be fetched for the time of an installation: none where the system has one, or needs none."""
    fetchable = is_wanted() and platform.machine() in BASELINES
    return [ZIG] if fetchable and not can_compile() else []


def compilers() -> list[list[str]]:
    """The commands to try, in order: $CC or else the system's compilers, then the package ziglang."""
    asked = os.environ.get("CC")
    commands = [shlex.split(asked)] if asked else [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    return [*commands, *([ZIG_COMMAND] if find_spec("ziglang") else [])]


def can_compile() -> bool:
    """Whether one of them can make a library of the smallest file, for every set."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            build(Path(folder) / "about.so", [FOLDER / "about.c"])
        except NativeError:
            return False
    return True


def build(library: Path = LIBRARY, sources: Sequence[Path] | None = None, flags: Sequence[str] = ()) -> str:
    """Build the library with the first compiler that can, and return its command.

    The file is replaced in one step: a process that uses the old one keeps it.
    flags: further ones, such as -fsanitize=address
    Raises NativeError if none can, with what each of them said.
    """
    said = []
    for command in compilers():
        try:
            with tempfile.TemporaryDirectory(dir=library.parent, prefix=".building-") as folder:
                parts = objects(command, Path(folder), sources or files(), flags)
                os.replace(linked(command, parts, flags), library)
        except (OSError, subprocess.SubprocessError) as error:
            said.append(f"{shlex.join(command)}: {_first_error(error)}")
        else:
            return shlex.join(command)
    reasons = "; ".join(said) or "there is no C compiler (cc, gcc, clang, $CC, or the package ziglang)"
    raise NativeError(f"the native kernels cannot be built, so that torch does their work: {reasons}")


def objects(command: Sequence[str], folder: Path, sources: Sequence[Path], flags: Sequence[str] = ()) -> list[Path]:
    """Compile each file for each set into the folder, as NAME.SET.o."""
    built_from = f'-DSOURCES="{fingerprint()}"'

    def compiled(source: Path, name: str) -> Path:
        target = folder / f"{source.stem}.{name}.o"
        options = [*FLAGS, *_for_cpu(command, name), f"-DSET={name}", built_from, *flags]
        _run([*command, *options, "-c", str(source), "-o", str(target)], folder)
        return target

    jobs = [(source, name) for source in sources for name in sets_here()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compiled, *zip(*jobs, strict=True)))


def linked(command: Sequence[str], parts: Sequence[Path], flags: Sequence[str] = ()) -> Path:
    """One library of all objects, beside them."""
    target = parts[0].with_name(LIBRARY.name)
    cpu = _for_cpu(command, "portable")
    _run([*command, *cpu, *flags, "-shared", "-o", str(target), *map(str, parts), "-lm", "-lc"], target.parent)
    return target


def _for_cpu(command: Sequence[str], name: str) -> list[str]:
    """What makes the compiler write for the oldest CPU of this kind that has the set."""
    machine = platform.machine()
    extensions = [f"-m{extension}" for extension in SETS[name]]
    if list(command) == ZIG_COMMAND:
        target = ["-target", f"{machine}-linux-gnu.{OLDEST_LIBC}", "-mcpu=baseline"]
        return [*target, *extensions, "-fno-sanitize=undefined", "-fomit-frame-pointer", "-g0"]  # its own defaults
    baseline = [f"-march={BASELINES[machine]}"] if machine in BASELINES else []
    return [*baseline, *extensions]


def _run(command: Sequence[str], folder: Path) -> None:
    """Call the compiler; the folder takes what ziglang would leave behind in the user's."""
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(folder / "cache"))
    subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", env=os.environ | caches)


def _first_error(error: OSError | subprocess.SubprocessError) -> str:
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    ended = f"it ended with status {error.returncode}"
    return next((line for line in error.stderr.splitlines() if "error" in line), ended)


def main(flags: Sequence[str]) -> int:
    """Build, and say what was done; flags: further ones for the compiler."""
    try:
        print(f"blockprop: {LIBRARY} built by {build(flags=flags)}", file=sys.stderr)
    except NativeError as error:
        print(f"blockprop: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
