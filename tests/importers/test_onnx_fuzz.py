"""Damaged and malicious ONNX files: a clear error or a network, in bounded time and memory, and never a crash."""

import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockprop.errors import BlockpropError
from blockprop.importers import from_onnx
from tests.conftest import DataFile
from tests.importers.onnx_models import MODELS
from tests.importers.onnx_mutations import damaged
from tests.importers.onnx_nodes import node_cases

FILES = ("mnist_cntk", "cifar_tutorial")
SECONDS = 5
MEGABYTES = 500
"""More than a file may take beyond what all before it have taken."""


def models() -> dict[str, bytes]:
    """Small models of many kinds."""
    return {name: make().SerializeToString() for name, make in MODELS.items()}


@pytest.fixture
def _bounded() -> Iterator[None]:
    """No more memory than 8 GiB above what the process has: what wants more fails at once."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def peak() -> float:
    """The most memory that the process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def read_all_damaged(originals: dict[str, bytes], seeds: range, path: Path) -> int:
    """Read one damaged file for each seed; how many still made a network. Other errors than ours pass through."""
    names, read = sorted(originals), 0
    for seed in seeds:
        rng = random.Random(seed)
        name = rng.choice(names)
        path.write_bytes(damaged(originals[name], rng))
        memory, start = peak(), time.process_time()
        try:
            from_onnx(path)
            read += 1
        except BlockpropError:
            pass
        except BaseException as error:
            error.add_note(f"{name}, damaged with the seed {seed}")
            raise
        taken, more = time.process_time() - start, peak() - memory
        assert taken < SECONDS, f"{name}, damaged with the seed {seed}, took {taken:.1f} s"
        assert more < MEGABYTES, f"{name}, damaged with the seed {seed}, took {more:.0f} MB"
    return read


@pytest.mark.usefixtures("_bounded")
def test_a_thousand_damaged_files(tmp_path: Path) -> None:
    read = read_all_damaged(models(), range(800), tmp_path / "model.onnx")
    assert 40 < read < 400  # else the damage would be too small to test anything, or too large


@pytest.mark.usefixtures("_bounded")
def test_real_files_damaged(data_file: DataFile, tmp_path: Path) -> None:
    real = {name: data_file(f"onnx/{name}.onnx").read_bytes() for name in FILES}
    assert 10 < read_all_damaged(real, range(200), tmp_path / "model.onnx") < 100


@pytest.mark.slow
@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("part", range(2))
def test_many_more_damaged_files(part: int, tmp_path: Path) -> None:
    read_all_damaged(models(), range(1000 + 3000 * part, 4000 + 3000 * part), tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.usefixtures("_bounded")
@pytest.mark.parametrize("part", range(2))
def test_damaged_files_of_every_operator(part: int, tmp_path: Path) -> None:
    originals = {name: case.model.SerializeToString() for name, case in node_cases().items()}
    read_all_damaged(originals, range(3000 * part, 3000 * part + 3000), tmp_path / "model.onnx")
