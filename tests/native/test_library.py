"""Which kernels are used: by the CPU, by what torch uses, by BLOCKPROP_NATIVE; and what is not loaded."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blockprop.errors import SettingError
from blockprop.native import library as module
from blockprop.native import sources
from blockprop.native.library import Library, cpu_extensions, library, status, torch_parallel_for, usable_sets
from blockprop.native.sources import SETS, is_current

WIDTHS = {"avx512": 16, "avx2": 8, "portable": 4}
SAY = """
import ctypes
from blockprop.native.library import library, status
found = library()
print(status(), found and found.set, found and found.function("width", returns=ctypes.c_int)(), sep="|")
"""
FLAGS = "fpu sse2 avx2 fma bmi2 avx512f avx512bw avx512dq avx512vl"


def said_with(**environment: str) -> list[str]:
    """The status, the set and its width in a process with these variables."""
    here = {
        name: value for name, value in os.environ.items() if name not in ("BLOCKPROP_NATIVE", "ATEN_CPU_CAPABILITY")
    }
    command = [sys.executable, "-c", SAY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100, env=here | environment)
    return done.stdout.strip().split("|")


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, *flags: str) -> None:
    """A machine whose CPUs have these flags."""
    text = "".join(f"processor\t: {i}\nflags\t\t: {each}\nbugs\t\t: none\n\n" for i, each in enumerate(flags))
    (folder / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPU_FACTS", folder / "cpuinfo")


def of_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")


def test_the_library_belongs_to_the_set_that_it_says(kernels: Library) -> None:
    assert status() == kernels.set == usable_sets()[0]
    assert kernels.function("width", returns=ctypes.c_int)() == WIDTHS[kernels.set]


@pytest.mark.usefixtures("kernels")
def test_every_usable_set_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in usable_sets():
        monkeypatch.setenv("BLOCKPROP_NATIVE", name)
        found = library()
        assert found is not None
        assert found.set == status() == name
        assert found.function("width", returns=ctypes.c_int)() == WIDTHS[name]


def test_zero_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKPROP_NATIVE", "0")
    assert library() is None
    assert status() == "off (BLOCKPROP_NATIVE=0)"


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("capability", "most"), [("avx2", "avx2"), ("default", "portable")])
def test_what_torch_may_not_use_is_not_used(capability: str, most: str) -> None:
    name = next(name for name in usable_sets() if list(SETS).index(name) >= list(SETS).index(most))
    assert said_with(ATEN_CPU_CAPABILITY=capability) == [name, name, str(WIDTHS[name])]


def test_what_torch_will_not_use_is_known_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of_x86(monkeypatch)
    told(monkeypatch, tmp_path, FLAGS)
    monkeypatch.delitem(sys.modules, "torch")
    assert usable_sets()[0] == "avx512"
    for capability, best in (("avx512", "avx512"), ("avx2", "avx2"), ("default", "portable")):
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", capability)
        assert usable_sets()[0] == best


def test_what_torch_may_not_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of_x86(monkeypatch)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setenv("BLOCKPROP_NATIVE", "avx2")
    with pytest.raises(SettingError, match=r"^BLOCKPROP_NATIVE=avx2: expected 0 .*: portable$"):
        library()


@pytest.mark.parametrize("lacks", FLAGS.split()[2:])
def test_a_cpu_without_one_instruction_does_not_run_its_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacks: str
) -> None:
    """Also if only one of several CPUs lacks it."""
    of_x86(monkeypatch)
    told(monkeypatch, tmp_path, FLAGS)
    assert usable_sets() == ["avx512", "avx2", "portable"]
    fewer = " ".join(flag for flag in FLAGS.split() if flag != lacks)
    told(monkeypatch, tmp_path, FLAGS, fewer)
    assert usable_sets() == (["avx2", "portable"] if lacks.startswith("avx512") else ["portable"])
    for name in {"avx512", "avx2"} - {*usable_sets()}:
        monkeypatch.setenv("BLOCKPROP_NATIVE", name)
        for ask in (library, status):
            with pytest.raises(SettingError, match=f"BLOCKPROP_NATIVE={name}"):
                ask()


def test_a_machine_that_does_not_tell_is_taken_for_the_oldest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of_x86(monkeypatch)
    told(monkeypatch, tmp_path)
    assert usable_sets() == ["portable"]
    monkeypatch.setattr(module, "CPU_FACTS", tmp_path / "nothing")
    assert cpu_extensions() == frozenset()
    assert usable_sets() == ["portable"]


def test_other_kinds_of_cpu_have_the_portable_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told(monkeypatch, tmp_path, FLAGS)
    monkeypatch.setattr(sources.platform, "machine", lambda: "aarch64")
    assert usable_sets() == ["portable"]


def test_an_unknown_set_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKPROP_NATIVE", "sse")
    with pytest.raises(SettingError, match=r"BLOCKPROP_NATIVE=sse: expected 0 \(no native kernels\) or a set"):
        library()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place of the library where there is none yet."""
    path = tmp_path / "kernels.library"
    monkeypatch.delenv("BLOCKPROP_NATIVE", raising=False)
    monkeypatch.setattr(module, "LIBRARY", path)
    monkeypatch.setattr(module, "is_current", lambda: is_current(path))
    monkeypatch.setattr(module, "_opened", module._opened.__wrapped__)
    return path


def test_without_a_library_torch_does_it(elsewhere: Path) -> None:
    assert library() is None
    assert status().startswith("off: none were built when blockprop was installed")
    assert not elsewhere.exists()


def test_a_set_is_not_asked_for_in_vain(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKPROP_NATIVE", "portable")
    with pytest.raises(
        SettingError, match=r"^BLOCKPROP_NATIVE=portable asks for native kernels, and .* none were built"
    ):
        library()
    assert status().startswith("off: none were built"), elsewhere


@pytest.mark.usefixtures("kernels")
def test_a_library_of_other_sources_is_not_loaded(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its functions may take other arguments: one changed letter of a file is enough."""
    elsewhere.write_bytes(sources.LIBRARY.read_bytes())
    assert library() is not None
    monkeypatch.setattr(sources, "fingerprint", lambda: "0" * 64)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: pytest.fail(f"{path} was loaded"))
    assert library() is None
    assert status() == (
        f"off: {elsewhere} was built from other sources; `python -m blockprop.native.building` builds it again"
    )


def test_what_is_no_library_is_said_in_words(elsewhere: Path) -> None:
    elsewhere.write_bytes(b"\x7fELF" + sources.fingerprint().encode())
    assert library() is None
    assert "cannot be loaded (" in status()


def test_a_system_that_nobody_has_tried_is_refused(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere.write_bytes(b"")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert library() is None
    assert status() == "off: native kernels are for Linux, this is darwin"


def test_the_fingerprint_is_of_every_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in sources.FOLDER.glob("*.[ch]"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    seen = {sources.fingerprint()}
    for path in sorted(tmp_path.iterdir()):
        path.write_text(path.read_text() + "\n")
        seen.add(sources.fingerprint())
    (tmp_path / "new.c").write_text("")
    seen.add(sources.fingerprint())
    assert len(seen) == len([*tmp_path.iterdir()]) + 1


def test_threads_are_those_of_torch() -> None:
    """Every number of 0 … 999 is seen once."""
    parts: list[tuple[int, int]] = []
    Part = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    Parallel = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, Part, ctypes.c_void_p)
    part = Part(lambda begin, end, _: parts.append((begin, end)))
    assert Parallel(torch_parallel_for())(0, 1000, 1, part, None) == 0
    assert sorted(number for begin, end in parts for number in range(begin, end)) == list(range(1000))
