"""A command that torchrun starts in several processes speaks once."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blockprop import cli
from blockprop.commands.rank import is_first, own_device, rank
from blockprop.training.ranks import RankError
from tests.commands.running import Output
from tests.processes import started

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
TRAIN = [*TORCHRUN, "-m", "blockprop", "--", "train", "digits"]  # torchrun takes --log for one of its own without --
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of two."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_a_process_by_itself_is_the_first() -> None:
    assert (rank(), is_first(), own_device("cuda"), own_device("cpu")) == (0, True, "cuda", "cpu")


@pytest.mark.usefixtures("second")
def test_each_process_has_a_gpu_of_its_own() -> None:
    assert (rank(), is_first()) == (1, False)
    assert [own_device(name) for name in ("cuda", "cuda:3", "cpu")] == ["cuda:1", "cuda:3", "cpu"]


@pytest.mark.usefixtures("second")
def test_another_process_than_the_first_says_who_it_is(capsys: Output) -> None:
    assert cli.main(["info", "no_such.safetensors", "--json"]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("blockprop, rank 1: ")
    assert printed.out == ""


def raising(error: BaseException) -> Callable[..., int]:
    def app(*_: object, **__: object) -> int:
        raise error

    return app


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(("is_told", "said"), [(True, "blockprop, rank 1: rank 0 has ended\n"), (False, "")])
def test_one_says_what_all_know(is_told: bool, said: str, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RankError("rank 0 has ended")
    error.is_told_here = is_told
    monkeypatch.setattr(cli, "app", raising(error))
    assert cli.main([]) == 1
    assert capsys.readouterr().err == said


@pytest.mark.usefixtures("second")
def test_the_first_one_says_that_all_were_stopped(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", raising(KeyboardInterrupt()))
    assert cli.main([]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_two_processes_train_and_one_writes(tmp_path: Path) -> None:
    command = [*TRAIN, "--epochs", "2", "--json", "--log", "log.csv", "--verbose"]
    with started(command, env=ENVIRONMENT, cwd=tmp_path) as process:
        out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    result = json.loads(out)
    assert result["steps_by"] == "blocks: 2 processes train together"
    assert result["accuracy"] > 0.9
    names = {"log.csv", "network.safetensors", "network.safetensors.checkpoint"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_sigterm_stops_both_after_the_same_step(tmp_path: Path) -> None:
    with started([*TRAIN, "--epochs", "100000"], env=ENVIRONMENT, cwd=tmp_path) as process:
        until = time.monotonic() + 100
        while not (tmp_path / "network.safetensors.checkpoint").exists():
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, said = process.communicate(timeout=60)
    assert out == ""
    assert said.count("stopped: network.safetensors holds the network as it is now") == 1
    assert said.count("blockprop: terminated") == 1
    assert "rank" not in said.partition("Traceback")[0]
    assert {path.name for path in tmp_path.iterdir()} == {"network.safetensors", "network.safetensors.checkpoint"}
