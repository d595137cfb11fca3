"""Ctrl-C at every moment while files are written: nothing is left lying, and what was there is whole."""

import dis
import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from blockprop.blocks import Linear
from blockprop.engine.sequential import Sequential
from blockprop.saving import beside, files, storage
from blockprop.saving.beside import Claim

NETWORK = Sequential(Linear(2, 2))


def claim(path: Path) -> None:
    held = Claim(path)
    try:
        files.write_file(path, "new")
    finally:
        held.release()


WRITERS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: files.write_file(path, "new"),
    "tensors": lambda path: files.write_tensors(path, {"x": torch.zeros(2)}, {}),
    "a folder": lambda path: storage.save(NETWORK, path / "net"),
    "asked for": files.require_writable,
    "claimed": claim,
}


SEEN_AFTER = {"RESUME", "JUMP_BACKWARD", "CALL", "CALL_FUNCTION_EX", "CALL_KW"}
"""Instructions of CPython after which it looks for signals."""


class CtrlC:
    """Interrupts once, at the so-manieth moment at which a signal can take effect in blockprop.saving.

    None: counts these moments.
    """

    def __init__(self, at: int | None):
        self.at, self.count = at, 0
        self._before: dict[FrameType, str] = {}

    def __enter__(self) -> "CtrlC":
        sys.settrace(self.trace)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.settrace(None)

    def trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        watched = "blockprop/saving" in frame.f_code.co_filename.replace("\\", "/")
        frame.f_trace_opcodes = watched
        frame.f_trace_lines = False
        if event == "opcode" and watched:
            before = self._before.get(frame)
            self._before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before in SEEN_AFTER:
                self.count += 1
                if self.count == self.at:
                    raise KeyboardInterrupt
        return self.trace


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("writer", WRITERS)
def test_interrupted_at_any_moment_nothing_is_left(writer: str, tmp_path: Path) -> None:
    write = WRITERS[writer]
    with CtrlC(None) as whole:
        write(tmp_path / "out")
    assert whole.count > 20
    left = []
    for at in range(1, whole.count + 1):
        with CtrlC(at), suppress(KeyboardInterrupt):
            write(tmp_path / "out")
        if at % 50 == 0:
            gc.collect()
        beside.remove_ours()
        if hidden := [path.name for path in tmp_path.rglob(".*")]:
            left.append((at, hidden))
            for path in tmp_path.rglob(".*"):
                path.unlink() if path.is_file() else path.rmdir()
    assert left == []
