"""Several processes, as torchrun starts them, train the network that one trains."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from blockprop.blocks import Jitter
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.saving.checkpoints import read_checkpoint
from blockprop.training.evaluation import evaluate
from blockprop.training.fit import fit
from blockprop.training.ranks import RankError, Ranks, ranks_for
from blockprop.training.rate_finder import find_rate
from blockprop.training.settings import Settings
from blockprop.training.shared_step import SharedStep, rows_of
from tests.processes import started
from tests.training import together
from tests.training.examples import data, net, noisy_net
from tests.training.together import CASES, FEW, trained

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.slow
def test_two_processes_and_four_train_what_one_trains(tmp_path: Path) -> None:
    """The four go on from a checkpoint of the two. One test, as starting them takes longest."""
    for count in (2, 4):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        with started([*torchrun, together.__file__, str(tmp_path)], env=ENVIRONMENT) as process:
            out, said = process.communicate(timeout=200)
        assert process.returncode == 0, out + said
        states = [load_file(tmp_path / f"{count}_{rank}.safetensors") for rank in range(count)]
        for name in CASES if count == 2 else FEW:
            ours, alone = of(name, states[0]), trained(name)
            assert ours["record"][0] == alone["record"][0] == (63 if name == "stopped early" else 105), name
            assert difference(ours, alone) < 1e-6, (name, count)
        assert all(equal(states[0], other) for other in states[1:])
        assert any(name.startswith("own statistics/") for name in states[0])
        for again in ("again", "in a group that was there"):
            assert equal(of(again, states[0]), of(FEW[0], states[0]))
    assert difference(of("resumed", states[3]), trained("synchronized")) < 1e-6
    for rank in range(2):
        require_refusals((tmp_path / f"2_{rank}.txt").read_text().splitlines(), is_told=rank == 0)


def of(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What one of the cases has left."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in state.items() if key.startswith(f"{name}/")}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Of all numbers together, relative to those of b."""
    assert a.keys() == b.keys()
    one, other = (torch.cat([state[name].double().flatten() for name in a]) for state in (a, b))
    return float((one - other).norm() / other.norm())


def require_refusals(lines: list[str], is_told: bool) -> None:
    of_data, of_epochs, of_batch, of_nan = lines
    begins = f"{is_told} the processes do not train the same: "
    assert of_data.startswith(f"{begins}x of the training data is ")
    assert "in rank 1, and " in of_data
    assert of_epochs.startswith(f"{begins}epochs is 2 in rank 1, and 1 in rank 0")
    assert of_batch == "True batch_size 1 is that of all 2 processes: expected at least 2, 1 for each"
    assert of_nan == f"{is_told} step 1: the objective became nan: row 31 of the data is not finite"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_one_that_ends_or_hangs_is_named_and_ends_all(tmp_path: Path, number: str) -> None:
    with three(tmp_path, number) as processes:
        for rank in (0, 2):
            _, said = processes[rank].communicate(timeout=60)
            assert processes[rank].returncode == 1
            assert "RankError: rank 1 of 3 has ended, or has not answered for 5 seconds: training cannot" in said
        if number == "SIGKILL":
            assert processes[1].wait(5) == -signal.SIGKILL
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                processes[1].wait(0.1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_in_one_stops_all_after_the_same_step(tmp_path: Path) -> None:
    with three(tmp_path, "SIGINT") as processes:
        for process in processes:
            _, said = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGINT
            assert "RankError" not in said
    assert read_checkpoint(tmp_path / "run.safetensors")["progress"][0] > 20


@contextmanager
def three(folder: Path, number: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Three processes that train together, without torchrun, which would wait for one that is stopped."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "3"}
    command = [sys.executable, together.__file__, str(folder), number]
    with ExitStack() as stack:
        environments = [ENVIRONMENT | place | {"RANK": str(rank)} for rank in range(3)]
        yield [stack.enter_context(started(command, env=environment)) for environment in environments]


@pytest.mark.parametrize(
    ("rows", "count", "least", "parts"),
    [
        (10, 4, 1, [(0, 3), (3, 6), (6, 8), (8, 10)]),
        (3, 4, 1, [(0, 1), (1, 2), (2, 3), (3, 3)]),
        (5, 4, 2, [(0, 3), (3, 5), (5, 5), (5, 5)]),
        (1, 2, 2, [(0, 1), (1, 1)]),
    ],
)
def test_a_batch_is_shared_without_rest(rows: int, count: int, least: int, parts: list[tuple[int, int]]) -> None:
    assert [rows_of(Ranks(rank, count), rows, least) for rank in range(count)] == parts


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ranks_for(None) is ranks_for(False) is None
    with pytest.raises(SettingError, match="processes that torchrun has started"):
        fit(net(), data(), cross_entropy(), distributed=True)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert repr(ranks_for(None)) == "rank 1 of 2 processes"
    assert ranks_for(False) is None


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """This process is the first of two. The port where they are to meet is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for name, value in place.items():
            monkeypatch.setenv(name, value)
        yield port


def test_a_port_that_is_taken_is_named(first: int) -> None:
    with pytest.raises(RankError, match=rf"rank 0 of 2 cannot meet the others at 127.0.0.1:{first}: .*EADDRINUSE"):
        fit(net(), data(), cross_entropy()).finish()


@pytest.mark.usefixtures("first")
def test_a_rate_is_looked_for_in_each_process_by_itself() -> None:
    assert find_rate(net(), data(), cross_entropy(), steps=10).rates


class Store:
    """Where processes meet; those in `there` come. Without any it has gone."""

    def __init__(self, there: set[int] | None) -> None:
        self.there = there

    def set(self, key: str, value: str) -> None:
        if self.there is None:
            raise RuntimeError("Broken pipe")

    def check(self, keys: list[str]) -> bool:
        return int(keys[0].removeprefix("there/")) in self.there


@pytest.mark.parametrize(
    ("there", "rank", "is_told", "said"),
    [
        ({2}, 1, True, "rank 0 of 3 has ended, or has not answered for 20 seconds: training cannot go on"),
        ({0}, 2, False, "rank 1 of 3 has ended"),
        (set(), 2, True, "rank 0, 1 of 3 has ended"),
        ({0, 1, 2}, 1, False, "the processes do not understand each other (sizes differ): training cannot go on"),
        (None, 1, True, "another process has ended, or does not answer: training cannot go on"),
    ],
)
def test_who_is_missing_is_said_once(
    there: set[int] | None, rank: int, is_told: bool, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockprop.training.ranks.ROLL_CALL_SECONDS", 0.2)
    ranks = Ranks(rank, 3)
    ranks._store = Store(there)
    with pytest.raises(RankError, match=re.escape(said)) as caught:
        ranks.wait(Failing())
    assert caught.value.is_told_here == is_told


class Failing:
    def wait(self) -> None:
        raise RuntimeError("sizes differ")


def test_each_validates_its_part_of_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[list[list[float]]] = []

    def summed(rows: list[list[float]], _: torch.device) -> list[list[float]]:
        tables.append(rows)
        if len(tables) < 2:
            raise RankError("not yet")
        return [[a + b for a, b in zip(*both, strict=True)] for both in zip(*tables, strict=True)]

    network, examples, found = net(), data(), []
    for rank in (1, 0):
        ranks = Ranks(rank, 2)
        monkeypatch.setattr(ranks, "sum_rows", summed)
        with suppress(RankError):
            found.append(evaluate(network, examples, cross_entropy(), batch_size=8, ranks=ranks))
    assert [[any(row) for row in table] for table in tables] == [[i % 2 == rank for i in range(7)] for rank in (1, 0)]
    assert found == [evaluate(network, examples, cross_entropy(), batch_size=8)]


def test_what_cannot_be_shared_is_refused() -> None:
    def shared(network: object, batch_size: int) -> SharedStep:
        optimizer = torch.optim.SGD(network.parameters.values(), lr=0.1)
        return SharedStep(network, cross_entropy(), optimizer, Settings(batch_size=batch_size), Ranks(0, 2))

    with pytest.raises(SettingError, match="expected at least 4, 2 for each of which batch normalization"):
        shared(noisy_net(), 3)
    with pytest.raises(SettingError, match=r"node 'jitter1': Jitter\(1\) draws its random numbers for a whole batch"):
        shared(Sequential(Jitter(1), *net().blocks.values()), 8)
