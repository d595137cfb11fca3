"""How kernels are built: by which compiler, for which CPU, and what happens where that fails."""

import importlib.util
import platform
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from blockprop.errors import NativeError
from blockprop.native import building, sources
from blockprop.native.building import ZIG, ZIG_COMMAND, build, compilers, objects, requirements
from blockprop.native.sources import FOLDER, is_current

ABOUT = [FOLDER / "about.c"]
WARNINGS = ("-Wall", "-Wextra", "-Werror")
BEYOND = {
    "avx512": r"(?!)",
    "avx2": r"%zmm|%k[0-7]|%[xy]mm(1[6-9]|2[0-9]|3[01])",
    "portable": r"%[yz]mm|%k[0-7]|\tv[a-z]|\t(pdep|pext|andn|bzhi|mulx|rorx|sarx|shlx|shrx|popcnt|lzcnt)\b",
}
"""What stands in an instruction that is not of the set."""
needs_cc = pytest.mark.skipif(not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler")
needs_objdump = pytest.mark.skipif(
    shutil.which("objdump") is None or platform.machine() != "x86_64", reason="no objdump for x86-64"
)


def instructions(path: Path) -> list[str]:
    done = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "\t" in line]


def set_of(path: Path) -> str:
    return path.stem.rpartition(".")[2]


def beyond_their_sets(paths: list[Path]) -> list[str]:
    """The instructions of these objects that a CPU with their set may not have."""
    found = [(path, line) for path in paths for line in instructions(path)]
    assert found
    return [f"{path.name}: {line}" for path, line in found if re.search(BEYOND[set_of(path)], line)]


def sections(path: Path) -> str:
    return subprocess.run(["objdump", "-h", path], capture_output=True, text=True, check=True).stdout


def program(path: Path, text: str) -> Path:
    """A script that stands for a compiler."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(autouse=True)
def _usual_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(building, "find_spec", lambda _: None)


@needs_cc
@needs_objdump
@pytest.mark.slow
def test_each_set_has_its_own_instructions_alone(tmp_path: Path) -> None:
    """And nothing that runs when the library is loaded, where no CPU has been asked yet; and no warnings."""
    parts = objects(compilers()[0], tmp_path, sources.files(), WARNINGS)
    assert beyond_their_sets(parts) == []
    for path in parts:
        assert not re.search(r"\.(init_array|ctors|preinit_array)", sections(path)), path.name


@needs_cc
@needs_objdump
def test_each_set_has_its_own_width(tmp_path: Path) -> None:
    path = tmp_path / "square.c"
    path.write_text('#include "vector.h"\nvoid NAME(square)(float *x) { store(x, load(x) * load(x)); }\n')
    parts = objects(compilers()[0], tmp_path, [path], [*WARNINGS, f"-I{FOLDER}"])
    assert beyond_their_sets(parts) == []
    for compiled, register in zip(parts, ("%zmm", "%ymm", "%xmm"), strict=True):
        assert any(register in line for line in instructions(compiled))


@needs_cc
@needs_objdump
def test_instructions_of_other_sets_are_seen(tmp_path: Path) -> None:
    """In a file that goes round the flags."""
    path = tmp_path / "wide.c"
    path.write_text(
        '__attribute__((target("avx512f"))) void wide(float *x) { for (int i = 0; i < 64; i++) x[i] *= 3; }\n'
        "int begun; __attribute__((constructor)) static void begin(void) { begun = 1; }\n"
    )
    for compiled in objects(compilers()[0], tmp_path, [path]):
        assert "init_array" in sections(compiled)
        assert bool(beyond_their_sets([compiled])) == (set_of(compiled) != "avx512")


@needs_cc
def test_the_cpu_that_builds_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "seen"
    program(tmp_path / "compiler", f'echo "$@" >> {seen}\nexec cc "$@"')
    monkeypatch.setenv("CC", f"{tmp_path / 'compiler'} -march=native")
    monkeypatch.setenv("CFLAGS", "-march=native -ffast-math")
    build(tmp_path / "kernels.library", ABOUT)
    for line in seen.read_text().splitlines():
        assert line.rindex("-march=native") < line.rindex("-march=")
        assert "-ffast-math" not in line


@needs_cc
def test_a_library_is_built_whole(tmp_path: Path) -> None:
    path = tmp_path / "kernels.library"
    path.write_text("an older one")
    assert not is_current(path)
    build(path, ABOUT)
    assert is_current(path)
    assert [*tmp_path.iterdir()] == [path]


@needs_cc
def test_a_build_that_fails_leaves_the_library(tmp_path: Path) -> None:
    path = tmp_path / "kernels.library"
    path.write_text("an older one")
    (tmp_path / "wrong.c").write_text("int f(void) { return nothing_of_this_name; }")
    with pytest.raises(NativeError, match=r"cannot be built, so that torch does their work: .*nothing_of_this_name"):
        build(path, [tmp_path / "wrong.c"])
    assert path.read_text() == "an older one"
    assert len([*tmp_path.iterdir()]) == 2


@needs_cc
def test_a_library_that_cannot_be_linked_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernels.library"
    path.write_text("an older one")
    program(tmp_path / "compiler", 'case "$*" in *-shared*) echo "error: no linker" >&2; exit 1;; esac\nexec cc "$@"')
    monkeypatch.setenv("CC", str(tmp_path / "compiler"))
    monkeypatch.setattr(building, "find_spec", lambda _: None)
    with pytest.raises(NativeError, match=r"compiler: error: no linker$"):
        build(path, ABOUT)
    assert path.read_text() == "an older one"


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NativeError, match=r"there is no C compiler \(cc, gcc, clang, \$CC, or the package ziglang\)"):
        build(tmp_path / "kernels.library")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("no_compiler")
def test_each_compiler_says_why_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "cc", "echo 'stdint.h: fatal error: no such file' >&2; exit 1")
    program(tmp_path / "clang", "exit 3")
    with pytest.raises(NativeError, match=r"cc: stdint.h: fatal error: no such file; clang: it ended with status 3$"):
        build(tmp_path / "kernels.library", ABOUT)
    monkeypatch.setenv("CC", "nothing -of this")
    with pytest.raises(NativeError, match=r"work: nothing -of this: .*No such file or directory: 'nothing'$"):
        build(tmp_path / "kernels.library", ABOUT)


@pytest.mark.usefixtures("no_compiler")
def test_a_compiler_is_fetched_only_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLOCKPROP_NATIVE", raising=False)
    assert requirements() == [ZIG]
    program(tmp_path / "cc", "exit 1")  # as Debian's without the headers of libc
    assert requirements() == [ZIG]
    monkeypatch.setattr(building.platform, "machine", lambda: "sparc")  # there is no such package
    assert requirements() == []


@pytest.mark.usefixtures("no_compiler")
def test_a_compiler_is_not_fetched_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKPROP_NATIVE", "0")
    assert requirements() == []
    monkeypatch.delenv("BLOCKPROP_NATIVE")
    monkeypatch.setattr("sys.platform", "win32")
    assert requirements() == []


@needs_cc
def test_the_system_s_compiler_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "find_spec", lambda _: None)
    assert requirements() == []


@pytest.mark.slow
def test_the_compiler_that_comes_as_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("the package ziglang is not installed")
    monkeypatch.setattr(building, "compilers", lambda: [ZIG_COMMAND])
    build(tmp_path / "kernels.library")
    assert is_current(tmp_path / "kernels.library")
    assert beyond_their_sets(objects(ZIG_COMMAND, tmp_path, sources.files())) == []


@pytest.mark.slow
def test_files_compile_for_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("the package ziglang is not installed")
    monkeypatch.setattr(building.platform, "machine", lambda: "aarch64")
    parts = objects(ZIG_COMMAND, tmp_path, sources.files(), WARNINGS)
    assert {set_of(path) for path in parts} == {"portable"}
    assert all(path.read_bytes()[18] == 183 for path in parts)  # ELF's number of aarch64
