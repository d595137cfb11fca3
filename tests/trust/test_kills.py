"""Killed processes, full disks, and two processes at once: nothing old is lost, nothing is left lying, all is said."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from blockprop.blocks import Linear
from blockprop.cli import main
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropWarning, FormatError
from blockprop.saving import files, resumable, storage
from blockprop.saving.beside import Claim
from blockprop.saving.checkpoints import read_checkpoint
from blockprop.saving.resumable import Keeping, Resumable
from tests.processes import started

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def network(value: float) -> Network:
    net = Sequential(Linear(2, 2))
    for tensor in net.parameters.values():
        tensor.fill_(value)
    net.meta["spec"] = str(value)
    return net


class Counting(Resumable[int]):
    """Counts to 5, slowly if wanted."""

    def __init__(self, keep: Keeping, at_step: Callable[[int], Any] = bool) -> None:
        self.at_step = at_step
        super().__init__(keep)

    @property
    def is_over(self) -> bool:
        return self.step == 5

    def identity(self) -> dict[str, Any]:
        return {}

    def progress(self, state: dict[str, Any]) -> dict[str, tuple[int, int]]:
        return {"steps": (state["step"], 5)}

    def advance(self) -> int:
        self.step += 1
        self.at_step(self.step)
        return self.step

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "number": torch.tensor(self.step)}

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


KILLED_WHILE_WRITING = """
import os, signal
from pathlib import Path
from blockprop.saving.files import replaced
with replaced({path!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["net.safetensors", "ä" * 100, "x" * 250, "網" * 80, "a[1]*?.csv"], ids=len)
def test_what_a_killed_process_left_goes_at_the_next_write(name: str, tmp_path: Path) -> None:
    path, stranger = tmp_path / name, tmp_path / ".other.tmp"
    files.write_file(path, "old")
    stranger.write_text("")
    with started([sys.executable, "-c", KILLED_WHILE_WRITING.format(path=str(path))], stderr=None) as process:
        process.wait(60)
    assert len(names(tmp_path)) == 3
    assert path.read_text() == "old"
    with files.replaced(path) as own:
        own.write_text("new")
        with files.replaced(path) as another:  # a file that is being written does not go
            another.write_text("newer")
        assert own.exists()
    assert names(tmp_path) == sorted([name, stranger.name])


KILLED_IN_SAFETENSORS = """
import os, signal
from pathlib import Path
import safetensors.torch
from blockprop.saving import storage
from tests.trust.test_kills import network
def save_file(tensors, path, metadata):
    Path(path).with_name(".tmpAbCdEf").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
safetensors.torch.save_file = save_file
storage.save(network(1.0), {path!r})
"""


@pytest.mark.parametrize("name", ["net.safetensors", "net"])
def test_what_a_killed_writer_of_tensors_left_goes_at_the_next_write(name: str, tmp_path: Path) -> None:
    code = KILLED_IN_SAFETENSORS.format(path=str(tmp_path / name))
    with started([sys.executable, "-c", code], stderr=None) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert list(tmp_path.rglob(".tmpAbCdEf"))
    storage.save(network(2.0), tmp_path / name)
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(".")] == []


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    code = KILLED_WHILE_WRITING.replace("os.kill(os.getpid(), signal.SIGKILL)", "print(1, flush=True); input()")
    path = tmp_path / "net"
    with started([sys.executable, "-c", code.format(path=str(path))], stdin=-1, stderr=None) as process:
        assert process.stdout is not None
        process.stdout.readline()
        files.write_file(path, "ours")
        assert len(names(tmp_path)) == 2
        process.communicate("\n", timeout=60)
    assert path.read_text() == "half"


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_folder_is_saved_in_one_step(kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill at any of its steps: either all of the old network is there, or all of the new one."""
    target, moves = tmp_path / "net", [0]
    for value in range(kept):
        storage.save(network(value), target)

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any, **settings: Any) -> Any:
            moves[0] -= 1
            if not moves[0]:
                raise KeyboardInterrupt
            return call(*arguments, **settings)

        return done

    monkeypatch.setattr(os, "replace", dying(os.replace))
    monkeypatch.setattr(Path, "unlink", dying(Path.unlink))
    for step in range(1, 9):
        moves[0] = step
        with suppress(KeyboardInterrupt):
            storage.save(network(9.0), target)
        moves[0] = 0
        if kept or (target / "network.json").exists():
            there = storage.load(target)
            assert {str(x) for x in torch.cat([p.flatten() for p in there.parameters.values()]).tolist()} == {
                str(float(there.meta["spec"]))
            }
    storage.save(network(9.0), target)
    assert len(names(target)) == 2


def test_weights_of_a_folder_lie_in_it(tmp_path: Path) -> None:
    storage.save(network(1.0), tmp_path / "net")
    graph = tmp_path / "net" / "network.json"
    graph.write_text(graph.read_text().replace("weights.safetensors", "../weights.safetensors"))
    with pytest.raises(FormatError, match=r"network\.json: expected its weights in weights\.safetensors or"):
        storage.load(tmp_path / "net")


RUNNING = """
from tests.trust.test_kills import Counting, Keeping
for step in Counting(Keeping({path!r}), at_step=lambda step: (print(step, flush=True), input())):
    pass
"""


@pytest.mark.parametrize("end", [None, signal.SIGKILL])
def test_a_second_process_on_one_output_is_told(end: signal.Signals | None, tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    with started([sys.executable, "-c", RUNNING.format(path=str(path))], stdin=-1, stderr=None) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(FormatError, match=r"run\.state is being written by another run"):
            Counting(Keeping(path)).finish()
        if end is None:
            process.communicate("\n" * 5, timeout=60)
        else:
            process.send_signal(end)
            process.wait(60)
    assert Counting(Keeping(path)).finish() == 5
    assert names(tmp_path) == ["run.state"]


def test_ctrl_c_while_a_run_begins_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Claim):
        def __init__(self, path: Any) -> None:
            super().__init__(path)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(resumable, "Claim", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Counting(Keeping(tmp_path / "run.state")).finish()
    assert names(tmp_path) == []


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Suffixes of files for which the disk is full."""
    suffixes: set[str] = set()

    def no_space(path: Path, *_: Any) -> None:
        if any(suffix in path.name for suffix in suffixes):
            path.write_bytes(b"beginning")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def before(write: Callable[..., None]) -> Callable[..., None]:
        def written(path: Path, *rest: Any) -> None:
            no_space(path)
            write(path, *rest)

        return written

    monkeypatch.setattr(files, "put_bytes", before(files.put_bytes))
    monkeypatch.setattr(files, "put_tensors", before(files.put_tensors))
    return suffixes


def test_a_full_disk_at_a_state_is_said_once_and_the_run_goes_on(tmp_path: Path, full: set[str]) -> None:
    def fill(step: int) -> None:
        full.update({".state"} if step == 2 else ())
        full.difference_update({".state"} if step == 4 else ())

    path = tmp_path / "run.state"
    with pytest.warns(BlockpropWarning, match="No space left.*unchanged; the run goes on") as said:
        assert list(Counting(Keeping(path, seconds=0), fill)) == [1, 2, 3, 4, 5]
    assert len(said) == 1
    assert read_checkpoint(path)["step"] == 5
    assert names(tmp_path) == ["run.state"]


def test_a_stop_with_a_full_disk_says_that_nothing_goes_on_from_there(tmp_path: Path, full: set[str]) -> None:
    run = Counting(Keeping(tmp_path / "run.state", seconds=0))
    assert next(run) == 1
    full.add(".state")
    with pytest.warns(BlockpropWarning, match="No space left"):
        next(run)
    with pytest.warns(BlockpropWarning, match="No space left.*what was made since cannot be gone on from"):
        run.close()
    assert read_checkpoint(tmp_path / "run.state")["step"] == 1


TRAIN = ["train", "digits", "--network", "mlp:8", "--epochs", "3", "--out", "net.safetensors"]


@pytest.mark.parametrize("suffix", [".checkpoint", ".csv"])
def test_training_goes_on_where_what_is_kept_besides_cannot_be_written(
    suffix: str, full: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    full.add(suffix)
    assert main([*TRAIN, "--log", "log.csv"]) == 0
    assert capsys.readouterr().err.count("No space left") == 1
    storage.load("net.safetensors")


def test_a_full_disk_at_the_result_is_one_error_and_the_old_one_stays(
    full: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    storage.save(network(1.0), "net.safetensors")
    before = Path("net.safetensors").read_bytes()
    full.add("net.safetensors.")
    full.add(".net.safetensors.")
    assert main([*TRAIN, "--force", "--quiet"]) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.fullmatch(r"blockprop: net\.safetensors could not be written \(No space left.*is unchanged", last)
    assert Path("net.safetensors").read_bytes() == before
