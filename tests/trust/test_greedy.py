"""What a file asks for is known before it is done: no network of a few numbers takes the machine's memory."""

import json
import math
import subprocess
import sys

import pytest
import torch

from blockprop import Network, Sequential, blocks, load, save
from blockprop.engine import room
from blockprop.engine.plan import Node, plan_forward
from blockprop.errors import BlockpropError, ShapeError
from blockprop.interop.modules import to_torch
from tests.blocks.running import made, run
from tests.cases import CASES, Case

each_case = pytest.mark.parametrize("case", CASES, ids=str)


def test_greedy_networks_are_refused_by_node_before_they_run() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.trust.greedy"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 60
    for name, came, seconds, grown, size in found:
        assert came.startswith("ShapeError: node '"), (name, came)
        assert "are allowed to a network from a file" in came, (name, came)
        assert seconds < 2, (name, seconds)
        assert grown < 200e6, (name, grown)
        assert size < 10_000, name


@each_case
def test_sizes_follow_without_numbers_and_what_a_block_says_is_not_exceeded(case: Case) -> None:
    block, inputs = made(case), case.tensors()
    names = tuple(f"x{i}" for i in range(len(inputs)))
    network = Network([Node("block", block, names)], names)
    plan = plan_forward(network.nodes, network.outputs, training=False)
    given = dict(zip(names, inputs, strict=True))
    assert not room._look(plan, given, True, room.Limit(plan, given, trusted=False))
    most = block.at_most(*[tuple(x.shape) for x in inputs]) if inputs else None
    if most is not None:
        (y,), _ = run(block, case, *inputs)
        assert len(y.shape) == len(most)
        assert all(size <= largest for size, largest in zip(y.shape, most, strict=True))


class Turned(blocks.Transpose):
    """A block of somebody's own, whose code is not run for a look."""

    calls = 0

    def forward(self, x):
        assert not x.is_meta
        Turned.calls += 1
        return super().forward(x)


def test_behind_blocks_of_ones_own_the_real_sizes_are_looked_at(tmp_path) -> None:
    greedy = Sequential({"turn": Turned((1, 0)), "repeat": blocks.Repeat((10**7, 10**7))})
    save(greedy, tmp_path / "net")
    network = load(tmp_path / "net", {"Turned": Turned})
    with pytest.raises(ShapeError, match=r"node 'repeat': .* are allowed to a network from a file"):
        network(torch.zeros(2, 3))
    assert Turned.calls == 1
    with pytest.raises(BlockpropError):  # torch's own words: nobody looks at a network of this process
        greedy(torch.zeros(2, 3))


def test_a_look_happens_once_for_each_shape_and_draws_no_numbers(tmp_path, monkeypatch) -> None:
    net = Sequential({"noise": blocks.Noise(0.3), "pad": blocks.Pad((1, 1)), "drop": blocks.Dropout(0.5)})
    save(net, tmp_path / "net")
    network, looks, look = load(tmp_path / "net"), [], room._look
    monkeypatch.setattr(room, "_look", lambda *given: looks.append(given) or look(*given))
    before = torch.get_rng_state()
    for i, shape in enumerate([(2, 3, 4, 4), (2, 3, 4, 4), (2, 3, 5, 4), (2, 3, 4, 4)]):
        x = torch.zeros(shape)
        assert torch.equal(network.seed(i)(x), net.seed(i)(x))
    assert len(looks) == 2
    assert torch.equal(torch.get_rng_state(), before)


def test_copies_and_new_networks_of_the_blocks_are_looked_at_too(tmp_path) -> None:
    save(Sequential({"repeat": blocks.Repeat((10**7, 10**7))}), tmp_path / "net")
    network = load(tmp_path / "net")
    for other in (network.copy(), Network([Node("twice", network.blocks["repeat"], ("x",))])):
        with pytest.raises(ShapeError, match="are allowed to a network from a file"):
            other(torch.zeros(2, 3))
    assert network.weightless()(torch.zeros(2, 3, device="meta")).numel() == 6 * 10**14


def test_the_limit_is_half_of_what_is_there(tmp_path, monkeypatch) -> None:
    save(Sequential({"repeat": blocks.Repeat((1000, 1000, 50))}), tmp_path / "net")
    x, bytes_taken = torch.zeros(1, 1, 2), 4 * math.prod((1000, 1000, 50, 2))
    monkeypatch.setattr(room, "free_memory", lambda _device: 2 * bytes_taken - 2)
    with pytest.raises(ShapeError, match=r"take 400.0 MB, and 400.0 MB are allowed"):
        load(tmp_path / "net")(x)
    monkeypatch.setattr(room, "free_memory", lambda _device: 2 * bytes_taken)
    assert load(tmp_path / "net")(x).shape == (1000, 1000, 100)


def test_a_file_gets_memory_in_proportion_unless_it_is_trusted(tmp_path, monkeypatch) -> None:
    for name, value in {"free_memory": lambda _device: 10**12, "ALWAYS": 100_000_000}.items():
        monkeypatch.setattr(room, name, value)
    refused = "200.0 MB, and 100.0 MB are allowed to a network from a file for 4 bytes of .*, unless .* opaque=True"
    save(Sequential({"repeat": blocks.Repeat((5000, 10_000))}), tmp_path / "net")
    for network in (load(tmp_path / "net"), load(tmp_path / "net").copy(), to_torch(load(tmp_path / "net"))):
        with pytest.raises(ShapeError, match=f"node 'repeat': .* would make the network take {refused}"):
            network(torch.zeros(1, 1))
    for network in (load(tmp_path / "net", opaque=True), load(tmp_path / "net", opaque=True).copy()):
        assert network(torch.zeros(1, 1)).shape == (5000, 10_000)


def test_weights_count_as_given(tmp_path, monkeypatch) -> None:
    for name, value in {"free_memory": lambda _device: 10**12, "ALWAYS": 2**26}.items():
        monkeypatch.setattr(room, name, value)
    save(
        Sequential(blocks.Linear(1, 1000), blocks.Repeat((300, 100))), tmp_path / "net"
    )  # 120 MB of 8 kB, 15,000 times
    save(Sequential(blocks.Linear(1, 60_000), blocks.Repeat((10, 50))), tmp_path / "large")  # of 480 kB, 250 times
    with pytest.raises(ShapeError, match="node 'repeat1'"):
        load(tmp_path / "net")(torch.zeros(1, 1))
    assert load(tmp_path / "large")(torch.zeros(1, 1)).shape == (10, 3_000_000)
