"""Seeds in one place, so that every test repeats; the data beside the checkout, which some tests need; and `-k NAME`,
which finds the tests of a class also by the file that they stand in. Kernels in C are built again if they changed.
"""

import ast
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from blockprop.errors import NativeError
from blockprop.native import building
from blockprop.native.library import Library, library, status
from blockprop.native.sources import is_current

DATA_FOLDER = Path(os.environ.get("BLOCKPROP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
"""Photographs, published weights, data sets: CONTRIBUTING.md says which."""
NEEDS_DATA, NEEDS_CUDA, NEEDS_KERNELS = "needs data", "no CUDA device", "no native kernels"
PACKAGE = Path(__file__).parent.parent / "blockprop"

DataFile = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Ctrl-C interrupts in tests also under a parent that ignores it: nohup, a job in the background, a CI runner."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    usual |= {signal.SIGHUP: signal.SIG_DFL} if hasattr(signal, "SIGHUP") else {}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def data_file() -> DataFile:
    """data_file("weights/googlenet_bvlc.safetensors"): the path of a file of the data, or the test is skipped."""

    def path_of(name: str) -> Path:
        path = DATA_FOLDER / name
        if not path.exists():
            pytest.skip(f"{NEEDS_DATA}: {path}")
        return path

    return path_of


@pytest.fixture
def kernels() -> Library:
    """The native kernels, or the test is skipped."""
    found = library()
    if found is None:
        pytest.skip(NEEDS_KERNELS)
    return found


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and building.is_wanted() and not is_current():
        try:
            building.build()
        except NativeError as error:  # without a compiler, torch is tested
            print(error, file=sys.stderr)
    if "BLOCKPROP_TEST_DATA" in os.environ and not DATA_FOLDER.is_dir():
        raise pytest.UsageError(f"BLOCKPROP_TEST_DATA is {str(DATA_FOLDER)!r}, and there is no such folder")


def pytest_itemcollected(item: pytest.Item) -> None:
    """tests/blocks/test_max_pooling.py tests what blocks/max_pooling.py holds: `-k MaxPool2d` runs all of it."""
    item.extra_keyword_matches.update(classes_tested_in(item.path))


@functools.cache
def classes_tested_in(path: Path) -> frozenset[str]:
    room, subject = path.parent.name, path.stem.removeprefix("test_")
    trees = [ast.parse(file.read_text()) for file in (PACKAGE / room).rglob(f"{subject}.py")]
    return frozenset(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason=NEEDS_CUDA))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", ())]
    needs = {
        NEEDS_DATA: f"data that are not in {DATA_FOLDER}; set BLOCKPROP_TEST_DATA, see CONTRIBUTING.md",
        NEEDS_CUDA: "a CUDA device",
        NEEDS_KERNELS: f"native kernels, which are {status()}",
    }
    for reason, what in needs.items():
        if count := sum(reason in skipped for skipped in reasons):
            terminalreporter.write_line(f"{count} test{'s need' if count > 1 else ' needs'} {what}", yellow=True)
