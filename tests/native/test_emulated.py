"""On CPUs that lack instructions: played by an emulator that refuses them, while /proc/cpuinfo tells of the real."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blockprop.native.building import build
from blockprop.native.sources import FOLDER, LIBRARY

EMULATOR = shutil.which("qemu-x86_64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(EMULATOR is None or platform.machine() != "x86_64", reason="no qemu-x86_64 (qemu-user)"),
    pytest.mark.usefixtures("kernels"),
]
PREPARED = """
import torch
from blockprop.blocks import Conv2d, Flatten, Linear, MaxPool2d, ReLU
from blockprop.engine.sequential import Sequential
from blockprop.native.library import library

torch.manual_seed(0)
network = Sequential(
    *(Conv2d(3, 16, 3, padding=1), ReLU(), Conv2d(16, 8, 3, padding=1), ReLU(), MaxPool2d(2), Conv2d(8, 8, 1)),
    *(Flatten(), Linear(128, 5)),
)
x, seed = torch.randn(2, 3, 8, 8), torch.randn(2, 5)
expected, found = (n.backward(n.forward(x), seed, wrt="inputs")["x"] for n in (network, network.prepare()))
print(library().set, float((found - expected).abs().max() / expected.abs().max()))
"""
SQUARE = '#include "vector.h"\nvoid NAME(square)(float *x) { store(x, load(x) * load(x)); }\n'


def on(cpu: str, code: str) -> "subprocess.CompletedProcess[str]":
    """A run of Python on such a CPU."""
    names = ("BLOCKPROP_NATIVE", "ATEN_CPU_CAPABILITY")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [str(EMULATOR), "-cpu", cpu, os.path.realpath(sys.executable), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)


@pytest.mark.parametrize(("cpu", "expected"), [("Haswell", "avx2"), ("Nehalem", "portable")])
def test_an_older_cpu_runs_what_it_can(cpu: str, expected: str) -> None:
    done = on(cpu, PREPARED)
    assert done.returncode == 0, done.stderr
    name, error = done.stdout.split()
    assert name == expected
    assert float(error) < 1e-5


def test_the_emulator_refuses_what_a_cpu_lacks(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    (tmp_path / "square.c").write_text(SQUARE)
    build(tmp_path / LIBRARY.name, [tmp_path / "square.c"], [f"-I{FOLDER}"])
    code = "import ctypes; ctypes.CDLL({!r}).square_{}((ctypes.c_float * 16)())"
    assert on("Haswell", code.format(str(tmp_path / LIBRARY.name), "avx2")).returncode == 0
    for cpu, name in (("Haswell", "avx512"), ("Nehalem", "avx2")):
        assert on(cpu, code.format(str(tmp_path / LIBRARY.name), name)).returncode == -signal.SIGILL
