"""What a prepared network is asked for: names, rules, nodes that no seed reaches, and to be prepared again."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Add, Concat, Conv2d, Dropout, Linear, ReLU, Tanh
from blockprop.engine.block import Block, Saved
from blockprop.engine.check import check_network
from blockprop.engine.network import Network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, SettingError
from blockprop.preparing.prepare import Prepared
from blockprop.preparing.rows import narrowed
from tests.preparing.graphs import residual, same

X = torch.randn(2, 3, 33, 30, generator=torch.Generator().manual_seed(0))


def doubled(block: Block, saved: Saved, d: Tensor) -> tuple[Tensor | None, ...]:
    return block.propagate(saved, 2 * d)


def lean_of(network: Network, *, without: Iterable[str] = (), **more: object) -> Prepared:
    lean = network.prepare(without=without, **more)  # type: ignore[arg-type]
    assert isinstance(lean, Prepared)
    return lean


@pytest.mark.parametrize(
    "blocks",
    [
        [Dropout(), Dropout(), Linear(30, 4)],
        [Dropout(), Dropout(), Dropout(), ReLU(), Dropout()],
        [Conv2d(3, 3, 1), Dropout(), Dropout(), ReLU(), Dropout(), Dropout()],
        [Dropout()],
    ],
    ids=lambda blocks: " ".join(type(block).__name__ for block in blocks),
)
def test_dropouts_in_a_row_go(blocks: list[Block]) -> None:
    network = Sequential(*blocks).to(dtype=torch.float64)
    first, last = network.nodes[0].name, network.nodes[-1].name
    for keep in ((last,), (first, last)):
        lean = same(network, tuple(dict.fromkeys(keep)), X.double())
        left = [node.name for node in lean.nodes if isinstance(node.block, Dropout)]
        assert left == [name for name in dict.fromkeys(keep) if isinstance(network.blocks[name], Dropout)]


def test_dropouts_that_are_read_twice_go() -> None:
    nodes = [
        Node("a", Dropout(), ("x",)),
        Node("b", Dropout(), ("a",)),
        Node("conv", Conv2d(3, 3, 1), ("b",)),
        Node("sum", Add(), ("b", "conv", "a", "b")),
    ]
    lean = same(Network(nodes).to(dtype=torch.float64), ("sum",), X.double())
    assert [node.name for node in lean.nodes] == ["conv", "sum"]


def in_regions() -> Network:
    """Two convolutions that are joined, which kernels compute together where there are some."""
    torch.manual_seed(0)
    nodes = [
        Node("a", Conv2d(3, 16, 3, padding=1), ("x",)),
        Node("relu", ReLU(), ("a",)),
        Node("b", Conv2d(16, 16, 3, padding=1), ("relu",)),
        Node("drop", Dropout(), ("b",)),
        Node("both", Concat(), ("drop", "relu")),
        Node("tanh", Tanh(), ("both",)),
    ]
    return Network(nodes)


@pytest.mark.parametrize("without", [(), ("join_regions",)], ids=str)
@pytest.mark.parametrize("place", ["relu", ReLU, "drop", Dropout, "a", Conv2d])
def test_rules_that_would_not_reach_a_node_are_refused(place: str | type[Block], without: tuple[str, ...]) -> None:
    network = in_regions()
    lean = lean_of(network, without=without)
    name = place if isinstance(place, str) else place.__name__
    for rules in ({place: doubled}, {"tanh": doubled, place: doubled}):
        with pytest.raises(GraphError, match=rf"rule for '{name}' would not reach node .* prepare\(rules=…\)"):
            lean.backward(lean.forward(X), torch.ones(2, 32, 33, 30), "inputs", rules)
    for place in ("nope", Linear):
        with pytest.raises(GraphError, match="would change nothing"):
            lean.backward(lean.forward(X), torch.ones(2, 32, 33, 30), "inputs", {place: doubled})
        with pytest.raises(GraphError, match="would change nothing"):
            network.prepare(rules={place: doubled})


@pytest.mark.parametrize("place", ["relu", ReLU, "both", Concat, "tanh"])
def test_rules_that_were_told_reach_their_nodes(place: str | type[Block]) -> None:
    network, rules = in_regions(), {place: doubled}
    lean = network.prepare(rules=rules)
    seed = torch.ones(2, 32, 33, 30)
    theirs, ours = [each.backward(each.forward(X), seed, "inputs", rules)["x"] for each in (network, lean)]
    assert not torch.allclose(theirs, network.backward(network.forward(X), seed, "inputs")["x"])
    torch.testing.assert_close(ours, theirs)


def test_a_rule_for_what_the_kept_outputs_do_not_need_is_none() -> None:
    network = in_regions()
    lean = network.prepare(["relu"])
    trace = lean.forward(X)
    d = [lean.backward(trace, torch.ones_like(trace["relu"]), "x", rules, True) for rules in ({}, {"tanh": doubled})]
    assert torch.equal(d[0]["x"], d[1]["x"])


class Turned(Concat):
    def forward(self, *x: Tensor) -> tuple[Tensor, Saved]:
        return super().forward(*reversed(x))


class Subtracted(Add):
    def forward(self, *x: Tensor) -> tuple[Tensor, Saved]:
        return x[0] - x[1], None


@pytest.mark.parametrize("block", [Turned(), Subtracted()], ids=repr)
def test_subclasses_in_regions_stay_what_they_are(block: Block) -> None:
    nodes = [
        Node("a", Conv2d(3, 16, 3, padding=1), ("x",)),
        Node("b", Conv2d(3, 16, 3, padding=1), ("x",)),
        Node("c", block, ("a", "b")),
    ]
    network = Network(nodes)
    torch.testing.assert_close(network.prepare()(X), network(X), rtol=1e-4, atol=1e-5)


class Noise(Block):
    generator = None

    def forward(self, x: Tensor) -> tuple[Tensor, Saved]:
        return x + torch.randn(x.shape, device=x.device), None

    def propagate(self, saved: Saved, d: Tensor) -> tuple[Tensor]:
        return (d,)


@pytest.mark.parametrize("memory", [None, "1 GB"])
def test_the_error_of_a_node_that_no_seed_reaches_is_zero(memory: str | None) -> None:
    nodes = [
        Node("noise", Noise(), ("x",)),
        Node("a", Conv2d(3, 5, 3), ("noise",)),
        Node("b", Tanh(), ("a",)),
        Node("c", Conv2d(3, 4, 1), ("x",)),
    ]
    network, wrt = Network(nodes), ["x", "a"]
    lean = network.prepare(wrt=wrt, memory=memory)
    seeds = {"c": torch.ones(2, 4, 33, 30)}
    traces = [each.forward(X) for each in (network, lean)]
    drawn = torch.get_rng_state()
    theirs, ours = [each.backward(trace, seeds, wrt) for each, trace in zip((network, lean), traces, strict=True)]
    assert torch.equal(torch.get_rng_state(), drawn)
    torch.testing.assert_close(ours["x"], theirs["x"])
    assert torch.equal(ours["a"], theirs["a"])
    assert ours["a"].shape == (2, 5, 31, 28)


def test_what_is_prepared_again_is_what_its_network_gives() -> None:
    network = residual().to(torch.float32)
    lean = network.prepare(["relu3", "flat"])
    assert lean.prepare() is lean
    assert lean.prepare(without=["join_sums"]) is network.prepare(["relu3", "flat"], without=["join_sums"])
    assert lean.prepare(["norm1"]) is network.prepare(["norm1"])  # which is not there any more
    bounded, direct = lean.prepare(memory="100 MB"), network.prepare(["relu3", "flat"], memory="100 MB")
    bounded.forward(X)
    direct.forward(X)
    assert bounded is direct
    with pytest.raises(GraphError, match=r"the network has no 'nope'; its nodes are .*norm1"):
        lean.prepare(["nope"])


def test_what_is_prepared_again_keeps_its_weights_if_those_of_its_network_changed() -> None:
    network = in_regions()
    lean = network.prepare(["both"])
    y = lean(X)
    network.parameters["a.weight"].mul_(2)
    for again in (lean.prepare(), lean.prepare(memory="100 MB")):
        torch.testing.assert_close(again(X), y, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network.prepare(["both"])(X), y, atol=1e-2)


def test_the_checker_takes_the_inputs_of_a_prepared_network_by_itself() -> None:
    network = Sequential(Conv2d(3, 4, 3, stride=2), ReLU(), Conv2d(4, 2, 3))
    target = torch.zeros(2, 2, 3, 3)
    report = check_network(network.prepare(), X[:, :, :11, :11], objective=mean_squared_error(), target=target)
    assert report.passed
    assert [comparison.name for comparison in report.comparisons] == ["x"]
    report = check_network(network, X[:, :, :11, :11], objective=mean_squared_error(), target=target)
    assert [comparison.name for comparison in report.comparisons] == [*network.parameters, "x"]
    with pytest.raises(GraphError, match="has fixed weights"):
        check_network(network.prepare(), X, objective=mean_squared_error(), wrt="parameters")


def test_weights_are_refused_at_once() -> None:
    for wrt in ("parameters", ["inputs", "a.weight"]):
        with pytest.raises(GraphError, match=r"has fixed weights, and no derivative by '(parameters|a\.weight)'"):
            in_regions().prepare(wrt=wrt)


def test_one_rewrite_is_left_out_by_its_name() -> None:
    network = in_regions()
    assert network.prepare(without="join_regions") is network.prepare(without=["join_regions"])
    with pytest.raises(SettingError, match="no rewrite 'join_region'; did you mean 'join_regions'"):
        network.prepare(without="join_region")


def test_names_that_nodes_have_are_left_to_them() -> None:
    nodes = [
        Node("a", Conv2d(3, 16, 3), ("x",)),
        Node("b", Conv2d(16, 16, 3), ("a",)),
        Node("a … b′", Tanh(), ("a",)),
        Node("a … b", Tanh(), ("b",)),
    ]
    network = Network(nodes, outputs=("a … b", "a … b′", "b"))
    lean = network.prepare()
    for ours, theirs in zip(lean(X), network(X), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    named = Network([nodes[0], Node("a of 1", Tanh(), ("x",))])
    row, tanh = narrowed(named.prepare(), {"a": (3,)})(X)
    torch.testing.assert_close((row[:, 3], tanh), (named(X)[0][:, 3], named(X)[1]), rtol=1e-4, atol=1e-5)
    assert bool(row[:, 2].isnan().all())
