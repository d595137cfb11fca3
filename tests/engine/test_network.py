"""The graph: its order, what is refused, how it is copied, moved and printed."""

from collections.abc import Callable

import pytest
import torch

from blockprop.blocks import Dropout, Linear
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import GraphError, SettingError, ShapeError
from tests.engine.small_blocks import Double, Plus, diamond


def test_nodes_are_sorted_whatever_their_order() -> None:
    assert [node.name for node in diamond().nodes] == ["double", "plus", "scale"]


def test_the_plain_call_is_the_forward_pass() -> None:
    assert diamond()(torch.tensor([1.0])).tolist() == [9.0]


def test_bad_graphs_are_refused() -> None:
    with pytest.raises(GraphError, match=r"cycle: .*a.*b"):
        Network([Node("a", Plus(), ("b", "x")), Node("b", Double(), ("a",))])
    with pytest.raises(GraphError, match="'y', which is neither"):
        Network([Node("a", Double(), ("y",))])
    with pytest.raises(GraphError, match="'a' is used twice"):
        Network([Node("a", Double(), ("x",)), Node("a", Double(), ("x",))])
    with pytest.raises(GraphError, match="cannot name"):
        Network([Node("parameters", Double(), ("x",))])
    with pytest.raises(GraphError, match="no 'z'"):
        Network([Node("a", Double(), ("x",))], outputs=("z",))


def test_names_that_do_not_exist_are_refused_with_near_ones() -> None:
    network = diamond()
    trace = network.forward(torch.tensor([1.0]))
    with pytest.raises(GraphError, match=r"did you mean 'scale\.weight'"):
        network.backward(trace, torch.ones(1), wrt="scale.wieght")
    with pytest.raises(GraphError, match=r"no 'plusses'; .*did you mean 'plus'\?"):
        network.backward(trace, {"plusses": torch.ones(1)})
    with pytest.raises(GraphError, match="no 'nothing'"):
        network.forward(torch.tensor([1.0]), keep=["nothing"])
    with pytest.raises(ShapeError, match="the seed for 'scale' is 2, but its output is 1"):
        network.backward(trace, torch.ones(2))


def test_an_error_in_a_block_says_where() -> None:
    network = Sequential({"fc1": Linear(4, 3), "fc2": Linear(4, 2)})
    with pytest.raises(ShapeError, match="node 'fc2': expected rows of 4"):
        network(torch.randn(5, 4))
    adding = Network([Node("sum", Plus(), ("a", "b"))], inputs=("a", "b"))
    with pytest.raises(ShapeError, match=r"node 'sum': Plus\(\) cannot use 2 torch.float32, 3 torch.float32"):
        adding(torch.zeros(2), torch.zeros(3))


@pytest.mark.parametrize("to", [lambda network: network.to(dtype=torch.float64), lambda n: n.to(torch.float64)])
def test_to_moves_and_converts_everything(to: Callable[[Network], Network]) -> None:
    network = to(Sequential(Linear(4, 3)))
    assert all(tensor.dtype == torch.float64 for tensor in network.state.values())
    assert network(torch.randn(2, 4, dtype=torch.float64)).dtype == torch.float64


def test_weights_stay_real_numbers() -> None:
    with pytest.raises(SettingError, match=r"expected torch\.float32, torch\.float64, …, came torch\.int64"):
        Sequential(Linear(4, 3)).to(torch.int64)


def test_a_copy_is_independent() -> None:
    network = Sequential(Linear(4, 3))
    twin = network.copy()
    twin.parameters["linear1.weight"].zero_()
    assert network.parameters["linear1.weight"].abs().sum() > 0


def test_repr_shows_the_graph() -> None:
    assert repr(diamond()).splitlines() == [
        "Network(x -> scale)",
        "  double: Double()  <-  x",
        "  plus: Plus()  <-  double, x",
        "  scale: Scale()  <-  plus",
    ]


def test_one_tensor_in_two_blocks_is_refused() -> None:
    a, b = Linear(3, 3), Linear(3, 3)
    b.weight = a.weight
    with pytest.raises(GraphError, match="share the block"):
        Sequential(a, b)


def test_what_is_no_block_or_no_tensor_is_refused() -> None:
    for wrong, came in (([Double()], "a list"), (Double, "Double itself"), (torch.nn.ReLU(), "a ReLU")):
        with pytest.raises(GraphError, match=f"came {came}"):
            Sequential(wrong)
    with pytest.raises(ShapeError, match=r"came a list; torch\.as_tensor"):
        Sequential(Double())([1.0])


def test_the_generators_of_random_blocks_by_name() -> None:
    dropout = Dropout(0.5)
    network = Sequential({"fc": Linear(3, 3), "drop": dropout, "again": dropout, "other": Dropout(0.1)})
    assert network.generators == {}
    network.seed(1)
    assert network.generators == {"drop": dropout.generator, "other": network.blocks["other"].generator}
