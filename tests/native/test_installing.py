"""What an installation brings: a library of this machine where there is a compiler, else a package for all machines.

The functions are called that `pip` calls, on a copy of the sources.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from importlib.metadata import version
from pathlib import Path

import pytest

from blockprop.native.sources import LIBRARY

ROOT = Path(__file__).parents[2]
CHECKOUT = ["pyproject.toml", "setup.py", "build_backend.py", "MANIFEST.in", "README.md", "LICENSE"]
CODE = """
import json, sys
sys.path.insert(0, ".")
sys.modules["ziglang"] = None  # as if it were not installed
import build_backend
print(json.dumps(getattr(build_backend, sys.argv[1])(*sys.argv[2:])))
"""
SOURCES = {"native/about.c", "native/vector.h", "native/building.py", "native/library.py", "native/sources.py"}

pytestmark = [
    pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="not a checkout"),
    pytest.mark.skipif(int(version("setuptools").partition(".")[0]) < 77, reason="setuptools is too old to build"),
]
needs_cc = pytest.mark.skipif(not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler")


def unneeded(_: str, names: list[str]) -> set[str]:
    ends = ("__pycache__", ".safetensors", ".library", ".c")
    return {name for name in names if name.endswith(ends) and name != "about.c"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources with one file in C, and a library of earlier ones, which nobody may take over."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "blockprop", folder / "blockprop", ignore=unneeded)
    for name in CHECKOUT:
        shutil.copy(ROOT / name, folder)
    (folder / "blockprop" / "native" / LIBRARY.name).write_text("an older one")
    (folder / "build" / "lib" / "blockprop" / "native").mkdir(parents=True)
    (folder / "build" / "lib" / "blockprop" / "native" / LIBRARY.name).write_text("an older one")
    return folder


def asked(checkout: Path, name: str, *arguments: str, **environment: str) -> tuple[str, str]:
    """What a function of the backend returns, and what it says."""
    names = ("BLOCKPROP_NATIVE", "CC", "PYTHONPATH")
    usual = {key: value for key, value in os.environ.items() if key not in names}
    command = [sys.executable, "-c", CODE, name, *arguments]
    settings = {"capture_output": True, "text": True, "check": True, "timeout": 200, "cwd": checkout}
    done = subprocess.run(command, env=usual | environment, **settings)
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def held(wheel: Path) -> dict[str, bytes]:
    """The files of the package in a wheel, and its WHEEL."""
    with zipfile.ZipFile(wheel) as file:
        assert any(name.endswith("/licenses/LICENSE") for name in file.namelist())
        assert not any(name.endswith(("setup.py", "build_backend.py")) for name in file.namelist())
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def is_pure(files: dict[str, bytes]) -> bool:
    assert files.keys() >= SOURCES
    return message_from_string(files["WHEEL"].decode())["Root-Is-Purelib"] == "true"


@needs_cc
def test_a_wheel_has_the_library_and_its_sources(checkout: Path) -> None:
    name, _ = asked(checkout, "build_wheel", "dist")
    assert name.startswith("blockprop-")
    assert "-py3-none-linux_" in name
    files = held(checkout / "dist" / name)
    assert not is_pure(files)
    assert files[f"native/{LIBRARY.name}"].startswith(b"\x7fELF")


@pytest.mark.parametrize("environment", [{"CC": "false"}, {"BLOCKPROP_NATIVE": "0"}])
def test_without_a_library_a_wheel_is_for_all_machines(checkout: Path, environment: dict[str, str]) -> None:
    name, said = asked(checkout, "build_wheel", "dist", **environment)
    assert name.endswith("-py3-none-any.whl")
    files = held(checkout / "dist" / name)
    assert is_pure(files)
    assert f"native/{LIBRARY.name}" not in files
    lines = [line for line in said.splitlines() if line.startswith("blockprop: ")]
    assert len(lines) == ("CC" in environment), lines
    assert all("cannot be built, so that torch does their work: false: " in line for line in lines)


@needs_cc
def test_an_editable_installation_builds_it_in_place(checkout: Path) -> None:
    library = checkout / "blockprop" / "native" / LIBRARY.name
    asked(checkout, "build_editable", "dist")
    assert library.read_bytes().startswith(b"\x7fELF")
    asked(checkout, "build_editable", "dist", CC="false")
    assert not library.exists(), "of other sources, perhaps"


@needs_cc
@pytest.mark.slow
def test_a_compiler_is_asked_for_where_there_is_none(checkout: Path) -> None:
    for name in ("get_requires_for_build_wheel", "get_requires_for_build_editable"):
        assert not any("ziglang" in need for need in asked(checkout, name)[0])
        assert any(need.startswith("ziglang==") for need in asked(checkout, name, CC="false")[0])
        assert not any("ziglang" in need for need in asked(checkout, name, CC="false", BLOCKPROP_NATIVE="0")[0])


@needs_cc
@pytest.mark.slow
def test_an_archive_of_the_sources_is_enough(checkout: Path, tmp_path: Path) -> None:
    name, _ = asked(checkout, "build_sdist", "dist")
    with tarfile.open(checkout / "dist" / name) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not (unpacked / "blockprop" / "native" / LIBRARY.name).exists()
    wheel, _ = asked(unpacked, "build_wheel", "dist")
    assert not is_pure(held(unpacked / "dist" / wheel))
