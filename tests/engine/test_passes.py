"""The two passes: values and derivatives by hand, what runs and what does not."""

import threading
import time
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Linear
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, ShapeError
from blockprop.interop import to_torch
from tests.engine.small_blocks import Double, Halves, Plus, Scale, counted, diamond


def test_values_and_derivatives_worked_by_hand() -> None:
    network = diamond()
    x = torch.tensor([1.0, -2.0])
    trace = network.forward(x)
    assert trace.output.tolist() == [9.0, -18.0]
    assert trace["plus"].tolist() == [3.0, -6.0]
    d = network.backward(trace, torch.tensor([1.0, 10.0]), wrt=("parameters", "inputs", "plus"))
    assert d["x"].tolist() == [9.0, 90.0]
    assert d["plus"].tolist() == [3.0, 30.0]
    assert d["scale.weight"].item() == 3.0 - 60.0
    assert list(d) == ["scale.weight", "x", "plus"]


def test_several_inputs_and_outputs() -> None:
    network = Network([Node("sum", Plus(), ("a", "b")), Node("twice", Double(), ("b",))], inputs=("a", "b"))
    first, second = network(torch.tensor(1.0), torch.tensor(5.0))
    assert (first.item(), second.item()) == (6.0, 10.0)
    trace = network.forward(torch.tensor(1.0), torch.tensor(5.0))
    d = network.backward(trace, {"sum": torch.tensor(1.0), "twice": torch.tensor(10.0)}, wrt="inputs")
    assert (d["a"].item(), d["b"].item()) == (1.0, 21.0)
    with pytest.raises(GraphError, match="2 outputs"):
        _ = trace.output
    with pytest.raises(ShapeError, match="takes 2 inputs"):
        network(torch.tensor(1.0))


def test_a_shared_block_sums_its_gradients() -> None:
    shared = Scale(3.0)
    network = Network([Node("first", shared, ("x",)), Node("second", shared, ("first",))])
    trace = network.forward(torch.tensor(2.0))
    assert trace.output.item() == 18.0
    d = network.backward(trace, torch.tensor(1.0), wrt=("parameters", "x"))
    assert d == {"first.weight": torch.tensor(12.0), "x": torch.tensor(9.0)}, "y = w² x, so dy/dw = 2 w x"
    assert list(network.parameters) == ["first.weight"]


def test_a_block_with_two_outputs() -> None:
    network = Network([Node("halves", Halves(), ("x",)), Node("scale", Scale(), ("halves[1]",))], outputs=("scale",))
    trace = network.forward(torch.tensor([1.0, 2.0]))
    assert trace["halves[0]"].item() == 1.0
    d = network.backward(trace, torch.tensor([1.0]), wrt=("x", "halves[1]"))
    assert d["x"].tolist() == [0.0, 3.0]
    assert d["halves[1]"].tolist() == [3.0]


def test_seeds_anywhere_and_several_at_once() -> None:
    network = diamond()
    trace = network.forward(torch.tensor([1.0]))
    d = network.backward(trace, {"double": torch.tensor([1.0]), "scale": torch.tensor([1.0])}, wrt="x")
    assert d["x"].tolist() == [2.0 + 9.0]


def test_what_no_seed_depends_on_gets_zeros() -> None:
    network = diamond()
    trace = network.forward(torch.tensor([1.0, 2.0]))
    d = network.backward(trace, {"double": torch.ones(2)}, wrt=("parameters", "plus"))
    assert d["scale.weight"].item() == 0.0
    assert d["plus"].tolist() == [0.0, 0.0]


def test_a_trace_serves_once_unless_kept() -> None:
    network = diamond()
    trace = network.forward(torch.tensor([1.0]))
    first = network.backward(trace, torch.ones(1), "inputs", keep_trace=True)
    assert network.backward(trace, torch.ones(1), "inputs") == first
    assert trace.saved == {}
    with pytest.raises(GraphError, match="keep_trace"):
        network.backward(trace, torch.ones(1))


def test_fixed_weights_call_no_gradients_and_training_propagates_not_into_the_data() -> None:
    network = Sequential(Linear(4, 3), Linear(3, 3), Linear(3, 2))
    calls = [counted(block) for block in network.blocks.values()]
    x, seed = torch.randn(5, 4), torch.randn(5, 2)
    network.backward(network.forward(x), seed, wrt="inputs")
    assert [c["gradients"] for c in calls] == [0, 0, 0]
    assert [c["propagate"] for c in calls] == [1, 1, 1]
    network._plans._backward.clear()
    network.backward(network.forward(x), seed, wrt="parameters")
    assert [c["gradients"] for c in calls] == [1, 1, 1]
    assert [c["propagate"] for c in calls] == [1, 2, 2]


def test_only_what_lies_between_seed_and_wanted_is_visited() -> None:
    network = Sequential(*(Linear(3, 3) for _ in range(5)))
    calls = [counted(block) for block in network.blocks.values()]
    trace = network.forward(torch.randn(2, 3), keep=["linear4"])
    assert [c["forward"] for c in calls] == [1, 1, 1, 1, 0]
    network.backward(trace, {"linear4": torch.randn(2, 3)}, wrt=["linear2.weight", "linear3"])
    assert [c["propagate"] for c in calls] == [0, 0, 1, 1, 0]
    assert [c["gradients"] for c in calls] == [0, 1, 0, 0, 0]


def test_the_forward_pass_forgets_what_nobody_needs() -> None:
    trace = Sequential(Linear(3, 3), Linear(3, 3), Linear(3, 3)).forward(torch.randn(2, 3), keep=["linear3"])
    assert list(trace.values) == ["linear3"]


def test_rules_replace_propagation_by_type_and_by_name_for_one_run() -> None:
    network = diamond()
    trace = network.forward(torch.tensor([1.0]))
    for place in (Double, "double"):
        rules = {place: lambda _block, _saved, d_y: (100 * d_y,)}
        assert network.backward(trace, torch.ones(1), "x", rules, keep_trace=True)["x"].tolist() == [303.0]
    assert network.backward(trace, torch.ones(1), "x", keep_trace=True)["x"].tolist() == [9.0]
    for place in (Linear, "dobule"):
        with pytest.raises(GraphError, match="would change nothing"):
            network.backward(trace, torch.ones(1), "x", {place: lambda *_: ()}, keep_trace=True)


def chain(depth: int) -> tuple[float, Tensor]:
    network = Sequential(*(Scale(1.0) for _ in range(depth)))
    x = torch.tensor(2.0)
    network.backward(network.forward(x), torch.tensor(1.0))
    start = time.process_time()
    d = network.backward(network.forward(x), torch.tensor(1.0), wrt=("x", "parameters"))
    return time.process_time() - start, d["scale1.weight"]


def test_two_thousand_blocks_neither_recurse_nor_slow_down_quadratically() -> None:
    chain(50)
    short, long = min(chain(250)[0] for _ in range(3)), min(chain(2000)[0] for _ in range(3))
    assert chain(2000)[1].item() == 2.0
    assert long < 8 * short * 4, f"8 times the depth took {long / short:.0f} times as long"


def test_a_network_serves_several_threads() -> None:
    network = Sequential(Linear(6, 6), Linear(6, 6))
    inputs = [torch.randn(4, 6) for _ in range(4)]
    expected = [network.backward(network.forward(x), x, wrt="x")["x"] for x in inputs]
    found: dict[int, list[Tensor]] = {}

    def work(i: int) -> None:
        found[i] = [network.backward(network.forward(inputs[i]), inputs[i], wrt="x")["x"] for _ in range(50)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(d, expected[i]) for i, results in found.items() for d in results)
    assert sorted(found) == [0, 1, 2, 3]


def test_nothing_requires_grad_even_if_the_input_does() -> None:
    network = Sequential(Linear(4, 3))
    x = torch.randn(2, 4, requires_grad=True)
    trace = network.forward(x)
    assert not trace.output.requires_grad
    assert not network.backward(trace, torch.ones(2, 3), wrt="x")["x"].requires_grad
    assert not network(x).requires_grad


class DeadEnd(Double):
    """Passes no error on."""

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (None,)


def test_a_shared_block_keeps_its_gradient_if_one_use_gets_no_error() -> None:
    shared = Scale(3.0)
    nodes = [Node("first", shared, ("x",)), Node("dead", DeadEnd(), ("first",)), Node("second", shared, ("x",))]
    network = Network([*nodes, Node("sum", Plus(), ("dead", "second"))])
    d = network.backward(network.forward(torch.tensor(2.0)), torch.tensor(1.0))
    assert d == {"first.weight": torch.tensor(2.0)}, "only the second use counts: dy/dw = x"


def test_an_output_without_error_gets_zeros() -> None:
    network = Network([Node("halves", Halves(), ("x",)), Node("scale", Scale(), ("halves[1]",))], outputs=("scale",))
    trace = network.forward(torch.tensor([1.0, 2.0]))
    d = network.backward(trace, torch.tensor([1.0]), wrt=("halves[0]", "halves[1]"))
    assert (d["halves[0]"].item(), d["halves[1]"].item()) == (0.0, 3.0)


class HalfError(BatchNorm2d):
    """Propagates half of the error; its gradients and `both` are inherited."""

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (super().propagate(saved, d_y)[0] / 2,)


class Halving:
    """A mixin of the same."""

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (super().propagate(saved, d_y)[0] / 2,)


class HalvingNorm(Halving, BatchNorm2d):
    pass


def of_norm(norm: BatchNorm2d, x: Tensor) -> dict[str, Tensor]:
    """The derivatives of a network of one block in training, by the input and by the parameters at once."""
    network = Sequential({"norm": norm}).to(dtype=x.dtype)
    trace = network.forward(x, training=True)
    return network.backward(trace, x.cos(), wrt=("inputs", "parameters"))


@pytest.mark.parametrize("kind", [HalfError, HalvingNorm])
def test_a_class_that_replaces_one_of_the_two_is_heard_where_both_are_wanted(kind: type[BatchNorm2d]) -> None:
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    assert BatchNorm2d(2).finds_both
    whole, half = of_norm(BatchNorm2d(2), x), of_norm(kind(2), x)
    torch.testing.assert_close(half["x"], whole["x"] / 2)
    assert all(torch.equal(half[name], whole[name]) for name in ("norm.weight", "norm.bias"))
    module = to_torch(kind(2)).double()
    module(y := x.clone().requires_grad_()).backward(x.cos())
    torch.testing.assert_close(y.grad, whole["x"] / 2)


def test_a_method_replaced_in_a_class_is_heard_where_both_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    network = Sequential({"norm": BatchNorm2d(2)}).to(dtype=x.dtype)

    def back() -> Tensor:
        return network.backward(network.forward(x, training=True), x, wrt=("inputs", "parameters"))["x"]

    back()
    monkeypatch.setattr(BatchNorm2d, "propagate", lambda _block, _saved, d_y: (100 * d_y,))
    assert torch.equal(back(), 100 * x)


def test_a_method_replaced_on_a_block_is_heard_where_both_are_wanted() -> None:
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    network = Sequential({"norm": BatchNorm2d(2)}).to(dtype=x.dtype)

    def back() -> dict[str, Tensor]:
        return network.backward(network.forward(x, training=True), x.cos(), wrt=("inputs", "parameters"))

    whole = back()
    network.blocks["norm"].propagate = lambda _saved, d_y: (100 * d_y,)
    again = back()
    assert torch.equal(again["x"], 100 * x.cos())
    torch.testing.assert_close(again["norm.weight"], whole["norm.weight"])


def test_methods_are_looked_up_at_each_call() -> None:
    network = Sequential(Double())
    network.backward(network.forward(torch.ones(1)), torch.ones(1), wrt="x")
    network.blocks["double1"].propagate = lambda _saved, d_y: (100 * d_y,)
    assert network.backward(network.forward(torch.ones(1)), torch.ones(1), wrt="x")["x"].item() == 100.0
