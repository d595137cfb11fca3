"""The engine: order, forward, backward, what runs and what does not."""

import threading
import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Dropout, Linear
from blockprop.engine.block import Block
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.errors import GraphError, ShapeError
from tests.random_networks import gradient_error


class Double(Block):
    """y = 2 x, d_x = 2 d_y."""

    def forward(self, x: Tensor) -> tuple:
        return 2 * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (2 * d_y,)


class Plus(Block):
    """y = a + b, d_a = d_b = d_y."""

    def forward(self, a: Tensor, b: Tensor) -> tuple:
        return a + b, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return d_y, d_y


class Scale(Block):
    """y = weight x, d_x = weight d_y, d_weight = sum of x d_y."""

    parameter_names = ("weight",)

    def __init__(self, start: float = 3.0) -> None:
        self.start = start
        self.weight = torch.tensor(start)

    def forward(self, x: Tensor) -> tuple:
        return self.weight * x, x

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (self.weight * d_y,)

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        return {"weight": (saved * d_y).sum()}


class Halves(Block):
    """(first, second) half of the last axis."""

    output_count = 2

    def forward(self, x: Tensor) -> tuple:
        return x.chunk(2, -1), x.shape

    def propagate(self, shape: torch.Size, d_y: tuple) -> tuple:
        half = torch.Size([*shape[:-1], shape[-1] // 2])
        return (torch.cat([torch.zeros(half) if d is None else d for d in d_y], -1),)


def counted(block: Block) -> dict[str, int]:
    """Count the calls of the three methods."""
    calls = {"forward": 0, "propagate": 0, "gradients": 0}

    def wrap(name: str) -> None:
        method = getattr(block, name)

        def wrapped(*args: object, **kwargs: object) -> object:
            calls[name] += 1
            return method(*args, **kwargs)

        setattr(block, name, wrapped)

    for name in calls:
        wrap(name)
    return calls


def diamond() -> Network:
    """y = w (2x + x), by hand: dy/dx = 3 w, dy/dw = 3 x."""
    return Network(
        [Node("scale", Scale(), ("plus",)), Node("plus", Plus(), ("double", "x")), Node("double", Double(), ("x",))]
    )


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


def test_nodes_are_sorted_whatever_their_order() -> None:
    assert [node.name for node in diamond().nodes] == ["double", "plus", "scale"]


def test_the_plain_call_is_the_forward_pass() -> None:
    assert diamond()(torch.tensor([1.0])).tolist() == [9.0]


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
    network._backward_plans.clear()
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
    with pytest.raises(GraphError, match=r"no 'plusses'; did you mean 'plus'\?"):
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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seed", range(10))
def test_gradients_of_random_networks_equal_autograd(seed: int, dtype: torch.dtype, tolerance: float) -> None:
    """Random graphs of linear maps, sums and shared blocks against torch's autograd, relative error of each tensor."""
    generator = torch.Generator().manual_seed(seed)
    width, shared = 8, Linear(8, 8)
    nodes = []
    for i in range(12):
        earlier = ["x", *(node.name for node in nodes)]
        pick = lambda names=earlier: names[int(torch.randint(len(names), (1,), generator=generator))]  # noqa: E731
        kind = int(torch.randint(4, (1,), generator=generator))
        block = (Plus(), shared, Linear(width, width), Double())[kind]
        nodes.append(Node(f"n{i}", block, (pick(), pick()) if kind == 0 else (pick(),)))
    network = Network(nodes).to(dtype=dtype)
    x = torch.randn(5, width, dtype=dtype, generator=generator)
    parameters = {name: p.clone().requires_grad_() for name, p in network.parameters.items()}
    values = {"x": x.clone().requires_grad_()}
    place = {id(block): name for name, block in reversed(network.blocks.items())}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        if isinstance(node.block, Linear):
            name = place[id(node.block)]
            values[node.name] = F.linear(*inputs, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        else:
            values[node.name] = inputs[0] + inputs[1] if isinstance(node.block, Plus) else 2 * inputs[0]
    seeds = {name: torch.randn(5, width, dtype=dtype, generator=generator) for name in network.outputs}
    torch.autograd.backward([values[name] for name in seeds], list(seeds.values()))
    trace = network.forward(x)
    d = network.backward(trace, seeds, wrt=("parameters", "inputs"))
    expected = {name: p.grad for name, p in parameters.items()} | {"x": values["x"].grad}
    for name, mine in d.items():
        theirs = torch.zeros_like(mine) if expected[name] is None else expected[name]
        assert mine.shape == theirs.shape
        assert mine.dtype == dtype
        assert (mine - theirs).norm() <= tolerance * theirs.norm().clamp_min(1e-30), name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seed", range(25))
def test_gradients_of_random_convolutional_networks_equal_autograd(
    seed: int, dtype: torch.dtype, tolerance: float
) -> None:
    assert gradient_error(seed, dtype) <= tolerance


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


def test_to_moves_and_converts_everything() -> None:
    network = Sequential(Linear(4, 3)).to(dtype=torch.float64)
    assert all(tensor.dtype == torch.float64 for tensor in network.state.values())
    assert network(torch.randn(2, 4, dtype=torch.float64)).dtype == torch.float64


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


def test_one_tensor_in_two_blocks_is_refused() -> None:
    a, b = Linear(3, 3), Linear(3, 3)
    b.weight = a.weight
    with pytest.raises(GraphError, match="share the block"):
        Sequential(a, b)


def test_methods_are_looked_up_at_each_call() -> None:
    network = Sequential(Double())
    network.backward(network.forward(torch.ones(1)), torch.ones(1), wrt="x")
    network.blocks["double1"].propagate = lambda _saved, d_y: (100 * d_y,)
    assert network.backward(network.forward(torch.ones(1)), torch.ones(1), wrt="x")["x"].item() == 100.0


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
