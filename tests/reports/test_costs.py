"""What networks cost: multiply-adds against torch's own counter, memory against numbers worked out by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from blockprop import blocks
from blockprop.blocks import Add, Concat, Constant, Conv2d, Dropout, Flatten, Linear, MatMul, MaxPool2d, ReLU, Split
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import ShapeError
from blockprop.networks.weights import pretrained
from blockprop.reports.costs import FORMULAS, Cost, Total, costs, multiply_adds, parameter_counts, total
from tests.cases import CASES, Case
from tests.conftest import DataFile

RECURRENT = {"GRU", "LSTM", "RNN"}
BY_THE_WAY = {"Trees", "Embedding", "LayerNorm", "PReLU", "Parameter", "RMSNorm"}
"""Blocks whose weights may have several axes, but stand in no product of matrices."""


class Doubled(Linear):
    """Somebody's own kind of a linear map."""


class Square(Block):
    """Somebody's own block."""

    def forward(self, x):
        return x * x, {"x": SimpleNamespace(kept=(x, [x[:1]]))}

    def propagate(self, saved, d_y):
        return (2 * saved["x"].kept[0] * d_y,)


class Opaque(Block):
    """An operator that blockprop has no block for."""


def test_a_small_network_by_hand() -> None:
    network = Sequential(Conv2d(3, 4, 3, stride=2), ReLU(), MaxPool2d(2), Flatten(), Linear(16, 5))
    found = costs(network, (2, 3, 9, 9))
    assert [cost.node for cost in found] == ["conv2d1", "relu1", "maxpool2d1", "flatten1", "linear1"]
    assert [cost.shapes for cost in found] == [((2, 4, 4, 4),), ((2, 4, 4, 4),), ((2, 4, 2, 2),), ((2, 16),), ((2, 5),)]
    # a convolution: each of 2 · 4 · 4 · 4 numbers adds up 3 · 3 · 3 products; Linear: each of 2 · 5 adds up 16
    assert [cost.multiply_adds for cost in found] == [128 * 27, 0, 0, 0, 10 * 16]
    assert [cost.parameters for cost in found] == [4 * 27 + 4, 0, 0, 0, 16 * 5 + 5]
    assert total(found).multiply_adds == 3616
    assert total(found).parameters == 197


@pytest.mark.parametrize("case", [case for case in CASES if type(case.make()) in FORMULAS], ids=str)
def test_torch_counts_the_same(case: Case) -> None:
    block, inputs = case.make(), case.tensors(torch.float32)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        y, _ = block.forward(*inputs)
    outputs = y if block.output_count > 1 else (y,)
    found = multiply_adds(block, [tuple(x.shape) for x in inputs], [tuple(y.shape) for y in outputs])
    if type(block).__name__ == "Einsum":  # torch multiplies in an order of its own
        assert found is None or found >= 0
    elif type(block).__name__ in RECURRENT:  # torch does not count products that are added in place
        assert found > counter.get_total_flops() / 2
    else:
        assert found == counter.get_total_flops() / 2


def test_every_block_with_matrices_has_a_formula() -> None:
    made = [case.make() for case in CASES]
    with_matrices = {type(block).__name__ for block in made if any(p.dim() > 1 for p in block.parameters.values())}
    assert with_matrices - {kind.__name__ for kind in FORMULAS} <= BY_THE_WAY


@pytest.mark.parametrize(
    ("equation", "inputs", "output", "expected"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)], (2, 4), 2 * 3 * 4),
        ("ij,jk", [(2, 3), (3, 4)], (2, 4), 2 * 3 * 4),
        ("bhqd, bhkd -> bhqk", [(2, 3, 5, 7), (2, 3, 6, 7)], (2, 3, 5, 6), 2 * 3 * 5 * 6 * 7),
        ("...ij,...jk->...ik", [(9, 2, 3), (9, 3, 4)], (9, 2, 4), 9 * 2 * 3 * 4),
        ("i,i->", [(5,), (5,)], (), 5),
        ("i,j->ij", [(5,), (6,)], (5, 6), 0),
        ("ii->i", [(5, 5)], (5,), 0),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], (2, 5), None),
        ("...i,...i->i", [(2, 3), (2, 3)], (3,), None),
    ],
)
def test_sums_in_einsteins_notation(equation: str, inputs: list, output: tuple, expected: int | None) -> None:
    if "Einsum" not in blocks.BLOCKS:
        pytest.skip("there is no such block")
    assert multiply_adds(blocks.BLOCKS["Einsum"](equation), inputs, [output]) == expected


def test_attention_multiplies_twice() -> None:
    if "Attention" not in blocks.BLOCKS:
        pytest.skip("there is no such block")
    found = multiply_adds(blocks.BLOCKS["Attention"](), [(2, 5, 4), (2, 6, 4), (2, 6, 3)], [(2, 5, 3)])
    assert found == 2 * (5 * 6 * 4 + 5 * 6 * 3)


def test_recurrence_uses_its_matrices_at_each_step() -> None:
    if "LSTM" not in blocks.BLOCKS:
        pytest.skip("there is no such block")
    block = blocks.BLOCKS["LSTM"](3, 4)
    assert multiply_adds(block, [(7, 2, 3)], [(7, 2, 4)]) == 7 * 2 * (4 * 4 * 3 + 4 * 4 * 4)
    block = blocks.BLOCKS["GRU"](3, 4, layers=2, bidirectional=True)
    matrices = 2 * (3 * 4 * 3 + 3 * 4 * 4) + 2 * (3 * 4 * 8 + 3 * 4 * 4)
    assert multiply_adds(block, [(7, 2, 3)], [(7, 2, 8)]) == 7 * 2 * matrices


def test_blocks_of_your_own() -> None:
    assert multiply_adds(Doubled(3, 4), [(2, 3)], [(2, 4)]) == 24
    assert multiply_adds(Square(), [(2, 3)], [(2, 3)]) is None
    assert multiply_adds(Opaque(), [(2, 3)], [(2, 3)]) is None
    found = costs(Sequential(Linear(3, 4), Square()), (2, 3))
    assert [cost.multiply_adds for cost in found] == [24, None]
    assert total(found).multiply_adds == 24


def test_a_shared_block_has_its_parameters_once_and_its_work_twice() -> None:
    shared = Linear(3, 3)
    network = Sequential({"a": shared, "relu": ReLU(), "b": shared})
    found = costs(network, (2, 3))
    assert [cost.parameters for cost in found] == [12, 0, 0]
    assert [cost.multiply_adds for cost in found] == [18, 0, 18]
    assert parameter_counts(network) == {"a": 12, "relu": 0, "b": 0}


def memory(found: list[Cost]) -> list[tuple[int, int, int]]:
    return [(cost.output_bytes, cost.forward_bytes, cost.saved_bytes) for cost in found]


def test_memory_of_a_chain_by_hand() -> None:
    found = costs(Sequential(Linear(4, 3), ReLU(), Linear(3, 2)), (5, 4))
    x, hidden, y = 5 * 4 * 4, 5 * 3 * 4, 5 * 2 * 4
    assert memory(found) == [
        (hidden, x + hidden, x),  # linear1 saves x
        (hidden, hidden + hidden, hidden),  # ReLU its output
        (y, hidden + y, y),  # linear2 saves the same once more, and the output stays
    ]
    assert total(found) == Total(4 * 3 + 3 + 3 * 2 + 2, 60 + 30, x + hidden, x + hidden + y)


def test_memory_follows_the_type_of_number() -> None:
    network = Sequential(Linear(4, 3)).to(dtype=torch.float64)
    assert memory(costs(network, (5, 4))) == [(120, 160 + 120, 160 + 120)]
    assert costs(network, torch.zeros(5, 4, dtype=torch.float64)) == costs(network, (5, 4))


def test_views_and_weights_take_no_memory() -> None:
    nodes = [
        Node("flat", Flatten(), ("x",)),
        Node("none", Dropout(), ("flat",)),
        Node("mask", Constant((6,)), ()),
        Node("sum", Add(), ("none", "mask")),
    ]
    found = costs(Network(nodes), (5, 2, 3))
    x = 5 * 6 * 4
    assert [cost.output_bytes for cost in found] == [0, 0, 0, x]
    assert [cost.forward_bytes for cost in found] == [x, x, x, 2 * x]
    assert sum(cost.saved_bytes for cost in found) == x


def test_what_a_skip_needs_stays_alive() -> None:
    nodes = [
        Node("a", Linear(2, 2), ("x",)),
        Node("b", ReLU(), ("a",)),
        Node("c", ReLU(), ("b",)),
        Node("sum", Add(), ("a", "c")),
    ]
    assert [cost.forward_bytes for cost in costs(Network(nodes), (1, 2))] == [16, 16, 24, 24]


def test_several_inputs_and_outputs() -> None:
    nodes = [
        Node("split", Split([1, 2], axis=1), ("x",)),
        Node("joined", Concat(axis=1), ("split[1]", "split[0]")),
        Node("product", MatMul(), ("joined", "z")),
        Node("unused", Linear(3, 3), ("x",)),
    ]
    network = Network(nodes, ("x", "z"), ("product",))
    found = costs(network, (2, 3), (3, 4))
    assert found[0].shapes == ((2, 1), (2, 2))
    assert found[2].multiply_adds == 2 * 3 * 4
    assert memory(found)[3] == (0, 0, 0)  # nobody asks for it, so it is not computed
    assert found[3].shapes == ((2, 3),)


def test_memory_inside_anything_that_a_block_saves_is_found() -> None:
    assert memory(costs(Sequential(Square()), (5, 4))) == [(80, 160, 160)]


def test_what_stays_is_what_the_trace_holds() -> None:
    """A second count, by the sizes of different tensors, for blocks that save whole tensors."""
    network = Sequential(Conv2d(3, 8, 3), ReLU(), Conv2d(8, 8, 3), ReLU(), Flatten(), Linear(8 * 6 * 6, 10))
    x = torch.rand(4, 3, 10, 10)
    trace = network.forward(x, keep=network.outputs)
    held = [value for value in (*trace.values.values(), *trace.saved.values()) if isinstance(value, torch.Tensor)]
    kept = {tensor.data_ptr(): tensor for tensor in held}
    assert total(costs(network, x)).saved_bytes == sum(tensor.nbytes for tensor in kept.values())


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="node 'linear1'"):
        costs(Sequential(Linear(4, 2)), (5, 3))
    with pytest.raises(ShapeError, match="takes 1 inputs"):
        costs(Sequential(Linear(4, 2)))


def test_squeezenet_costs_what_its_authors_say(data_file: DataFile) -> None:
    path = data_file("weights/squeezenet1_1.safetensors")
    found = total(costs(pretrained("squeezenet1_1", path), (1, 3, 227, 227)))
    assert found.parameters == 1_235_496
    assert found.multiply_adds == 387_747_520  # "0.39 G"
