"""Symbols: sizes that are formulas; Graph: nodes, names, weights, sizes as blocks take them."""

import math

import pytest
import torch
from torch import Tensor

from blockprop import blocks
from blockprop.blocks.sizes import size_of
from blockprop.errors import SettingError, UnsupportedError
from blockprop.importers.calls import Call, axes_of, axis_from_start, is_zero, number
from blockprop.importers.graph import Flow, Graph, Known
from blockprop.importers.symbols import Leaf, Symbol, Unrounded, larger, smaller
from blockprop.importers.torch.views import Cell, View

N, H = Symbol.of("x", 0, (3, 5)), Symbol.of("x", 2, (8, 17))
NAMES = {Leaf("x", 0): "a0", Leaf("x", 2): "a2"}


@pytest.mark.parametrize(
    ("symbol", "text", "expression"),
    [
        (N + 1, "a0+1", "n + 1"),
        (1 + N, "1+a0", "1 + n"),
        (N - 2, "a0-2", "n - 2"),
        (7 - N, "7-a0", "7 - n"),
        (2 * N * H, "(2*a0)*a2", "2 * n * h"),
        (H // 2, "a2//2", "h // 2"),
        (100 // H, "100//a2", "100 // h"),
        (H % 4, "a2%4", "h % 4"),
        (-H, "-a2", "-h"),
        (N - (H - N), "a0-(a2-a0)", "n - (h - n)"),
        (N * -1, "a0*(-1)", "-n"),
        (N * 2.0, "a0*2", "2 * n"),
        (larger(N, H), "max(a0,a2)", "max(n, h)"),
        (smaller(2, H) + 1, "min(2,a2)+1", "min(2, h) + 1"),
        (math.ceil(H / 2), "(a2+1)//2", "math.ceil(h / 2)"),
        (math.floor(H * 0.75), "(a2*3)//4", "math.floor(h * 0.75)"),
        (math.trunc(0.5 * H), "a2//2", "h // 2"),
        (math.ceil(H / 4 * 3), "((a2*3)+3)//4", "math.ceil(h / 4 * 3)"),
        (math.prod((N, H, 3)), "(a0*a2)*3", "3 * n * h"),
    ],
)
def test_a_symbol_is_the_formula_of_what_was_done_with_it(symbol: Symbol, text: str, expression: str) -> None:
    def expected(n: int, h: int) -> int:
        return eval(expression, {"math": math, "n": n, "h": h})

    assert symbol.trials == (expected(3, 8), expected(5, 17))
    assert symbol.formula(NAMES) == text
    for n, h in ((3, 8), (1, 9), (7, 2)):
        assert size_of(text, [torch.empty(n, 1, h)]) == expected(n, h)


def test_what_changes_nothing_gives_the_symbol_itself() -> None:
    for same in (N + 0, 0 + N, N - 0, N * 1, 1 * N, N // 1, N / 1):
        assert same is N
    assert N + 1 == N + 1 != N + 2
    assert len({N + 1, N + 1, H}) == 2
    assert repr(N * 2) == "x.size(0)*2"
    assert N != 3


@pytest.mark.parametrize("function", [lambda: N + 0.5, lambda: H * 0.3, lambda: N / H, lambda: N**2, lambda: H / 0.1])
def test_arithmetic_that_is_not_exact_is_refused(function: object) -> None:
    with pytest.raises(TypeError):
        function()  # type: ignore[operator]
    assert isinstance(H / 2, Unrounded)


@pytest.mark.parametrize("text", ["max(a0)", "max(a0,1,2)", "abs(a0,1)", "max(a0,b=1)", "max(a0,1.5)"])
def test_formulas_know_max_and_min_of_two_alone(text: str) -> None:
    with pytest.raises(SettingError, match="formula"):
        blocks.Reshape((text,))


def graph_of(*trials: tuple[int, ...]) -> Graph:
    return Graph({"x": tuple(torch.empty(shape, device="meta") for shape in trials)})


def test_an_axis_that_differs_between_the_trials_is_free() -> None:
    graph = graph_of((3, 4, 8), (5, 4, 17))
    x = graph.inputs["x"]
    assert x.shape == (Symbol.of("x", 0, (3, 5)), 4, Symbol.of("x", 2, (8, 17)))
    assert (x.axes, x.dtype) == (3, torch.float32)
    y = graph.add("pool", blocks.AvgPool1d(2), x)
    assert y.shape[2].trials == (4, 8)
    assert [node.name for node in graph.nodes] == ["pool"]


def test_names_are_made_unique() -> None:
    graph = graph_of((2, 3), (2, 3))
    x = graph.inputs["x"]
    names = [graph.add(name, blocks.ReLU(), x).key for name in ("a", "a", "a#2", "x", "inputs", "", "a")]
    assert names == ["a", "a#2", "a#2#2", "x#2", "inputs#2", "node", "a#3"]


def test_sizes_are_taken_from_the_operand_where_they_equal_its_own() -> None:
    graph = graph_of((3, 4, 8), (5, 4, 17))
    x = graph.inputs["x"]
    y = graph.add("sum", blocks.Sum((1,)), x)
    n, _, h = x.shape
    assert graph.sizes([n, 4 * h, 7], y) == (("a0", "4*b2", 7), (x,))
    assert graph.sizes([n, h], x) == (("a0", "a2"), ())
    assert graph.formulas([h // 2, 1], x) == (("a2//2", 1), ())


def test_equal_weights_and_settings_give_one_block() -> None:
    graph = graph_of((2, 3), (2, 3))
    weight, other = Known(torch.randn(4, 3), "w", True), Known(torch.randn(4, 3), "v", True)
    settings = {"features_in": 3, "features_out": 4, "with_bias": False}
    first = graph.block(blocks.Linear, settings, weight=weight, bias=None)
    assert graph.block(blocks.Linear, settings, weight=weight, bias=None) is first
    assert graph.block(blocks.Linear, settings, weight=other, bias=None) is not first
    assert first.weight is not weight.tensor  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedError, match=r"weight is 4 x 3, but .* takes 5 x 3"):
        graph.block(blocks.Linear, settings | {"features_out": 5}, weight=weight, bias=None)
    with pytest.raises(UnsupportedError, match="bias is missing"):
        graph.block(blocks.Linear, settings | {"with_bias": True}, weight=weight, bias=None)


def test_the_network_holds_what_the_outputs_need_alone() -> None:
    graph = graph_of((2, 3), (2, 3))
    x = graph.inputs["x"]
    graph.add("never", blocks.Exp(), x)
    scale = Known(torch.tensor(2.0), "scale", trained=True)
    y = graph.add("scale", blocks.Mul(), x, scale)
    z = graph.add("scale.value", blocks.Tanh(), y)
    network = graph.network([z, y], {"a": 1})
    assert network.inputs == ("x",)
    assert set(network.parameters) == {"scale.value"}
    assert graph.parameter_names == {"scale.value": "scale"}
    assert "never" not in network.blocks
    assert "scale.value" not in network.blocks
    given = torch.randn(2, 3)
    assert torch.equal(network(given)[0], (2 * given).tanh())


def test_calls_and_helpers() -> None:
    graph = graph_of((2, 3), (4, 3))
    call = Call(graph, "name", "aten.op", known=None)
    y = call.add(blocks.Exp(), graph.inputs["x"], part="part")
    assert y.key == "name.part"
    with pytest.raises(UnsupportedError, match="computed from the network's input"):
        call.weight(y)
    with pytest.raises(UnsupportedError, match="must be constant"):
        call.constant(y)
    assert call.weight(None) is None
    assert (axis_from_start(-1, 4), axes_of(None, 2), axes_of([], 2), axes_of(-1, 3)) == (3, (0, 1), (0, 1), (2,))
    assert number(Known(torch.tensor(2.5))) == 2.5
    assert number(Known(torch.tensor(2.5), trained=True)) is None
    assert number(Known(torch.ones(1))) is None
    assert is_zero(Known(torch.zeros(2, 2)))
    assert not is_zero(Known(torch.zeros(2), trained=True))
    assert is_zero(Flow("f", y.trials, filled=0))
    assert not is_zero(y)


def test_a_cell_follows_what_it_is_a_view_of() -> None:
    base = Cell(torch.zeros(4))
    view = View(base.read()[1:3], base, lambda whole: whole[1:3], put)
    deeper = View(view.read()[0], view, lambda part: part[0], lambda part, new: torch.stack([new, part[1]]))
    assert not base.is_written
    deeper.write(torch.tensor(5.0))
    assert view.read().tolist() == [5, 0]
    assert base.read().tolist() == [0, 5, 0, 0]
    base.write(torch.ones(4))
    assert deeper.read() == 1
    assert deeper.root is base
    assert deeper.is_written


def put(whole: Tensor, new: Tensor) -> Tensor:
    return torch.cat([whole[:1], new, whole[3:]])
