"""Derivatives written out: they come to what the sweep finds, and what they say is right."""

import math
import re

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Add, Conv2d, Flatten, Linear, MaxPool2d, Mul, ReLU, Sigmoid, Softmax, Split, Tanh
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy, mean_squared_error
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from blockprop.learning import Derivation, explain
from blockprop.networks import build_network, lecture, lecture_example
from tests.random_networks import random_network

ELEMENTS = ("fc1.weight[1,0]", "fc1.bias[2]", "fc2.weight[0,1]", "fc2.bias[1]", "x[1]", "fc1[0,2]", "fc2[1]")


def numbers(text: str) -> list[float]:
    """The numbers in a line, in order, without those that are indices of symbols."""
    return [float(found.replace("−", "-")) for found in re.findall(r"(?<![\w.])−?\d+(?:\.\d+)?(?![\w.])", text)]


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("by", ["numbers", "blocks"])
def test_the_sum_is_what_the_sweep_finds(kind: str, by: str) -> None:
    x, target = lecture_example()
    for of in (*ELEMENTS, f"{kind}1[0]"):
        found = explain(lecture(kind), x, of=of, target=target, by=by)
        assert found.difference <= 1e-12 * max(1.0, abs(found.swept))


def test_by_hand_in_scalars() -> None:
    """The lecture's network with ReLU, in fractions: ∂L/∂x₂ = −1/4 − 1/4 − 1/4 + 1/2."""
    x, target = lecture_example()
    found = explain(lecture("relu"), x, of="x[1]", target=target)
    assert found.value == found.swept == -0.25
    lines = found.text.splitlines()
    assert "  ∂L/∂y₂ = ∂L/∂z₁ u₁₂ + ∂L/∂z₂ u₂₂ = −0.5 · (−1) + 0.5 · 0.5 = 0.75" in lines
    assert "  ∂L/∂a₃ = ∂L/∂y₃ φ′(a₃) = 0.25 · 1 = 0.25" in lines
    assert "  L → z₂ → y₃ → a₃ → x₂ = 0.5 · 1 · 1 · 1 = 0.5" in lines
    assert "  ∂L/∂x₂ = −0.25 + 0 − 0.25 − 0.25 + 0 + 0.5 = −0.25" in lines
    found = explain(lecture("relu"), x, of="fc1.weight[2,1]", target=target)
    assert "  ∂L/∂w₃₂ = ∂L/∂y₃ φ′(w₃₁ x₁ + w₃₂ x₂ + b₃) x₂ = 0.25 · 1 · 2 = 0.5" in found.text.splitlines()
    assert found.text.splitlines()[0].endswith(" = 0.5, by the chain rule")


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "relu"])
def test_every_equation_holds(kind: str) -> None:
    """What stands between the last two equals signs comes to what stands behind them, as far as digits go."""
    x, target = lecture_example()
    found = explain(lecture(kind), x, of="fc1.weight[1,0]", target=target, digits=9).text
    checked = 0
    for line in re.sub(r"\n\s+= ", " = ", found).splitlines()[1:]:
        sides = line.partition("    (")[0].split(" = ")
        if len(sides) < 3 or "φ(" in sides[-2] or "exp" in sides[-2]:
            continue
        code = sides[-2].replace("−", "-").replace("·", "*").replace("log", "math.log")
        assert re.fullmatch(r"[-+*. \d()e]*(math\.log\([\d.]+\))?[-+*. \d()e]*", code)
        assert eval(code) == pytest.approx(numbers(sides[-1])[0], abs=1e-8)
        checked += 1
    assert checked >= 9


def test_deeper_networks_number_their_layers() -> None:
    torch.manual_seed(0)
    network = Sequential(Flatten(), Linear(2, 2), Tanh(), Linear(2, 3), Sigmoid(), Linear(3, 2), Tanh())
    x = torch.randn(1, 1, 2)
    target = torch.tensor([[0.1, 0.9]])
    for of in ("linear1.weight[1,0]", "linear2.bias[2]", "flatten1[1]", "x[0,1]", "tanh2[0,1]", "linear3[0,0]"):
        found = explain(network, x, of=of, objective=mean_squared_error(), target=target)
        assert "Every path" in found.text
        assert found.difference < 1e-15
    text = explain(network, x, of="linear1.weight[1,0]", objective=mean_squared_error(), target=target).text
    assert "y⁽²⁾₃ = φ(a⁽²⁾₃)" in text
    assert "L → ŷ₁ → z₁ → y⁽²⁾₁ → a⁽²⁾₁ → y⁽¹⁾₂ → a⁽¹⁾₂ → w⁽¹⁾₂₁" in text


def graph() -> Network:
    """A fork, a block used twice, one with two outputs, and a maximum."""
    shared = Linear(4, 4)
    return Network(
        [
            Node("h", shared, ("x",)),
            Node("again", shared, ("h",)),
            Node("halves", Split((2, 2)), ("again",)),
            Node("product", Mul(), ("halves[0]", "halves[1]")),
            Node("relu", ReLU(), ("halves[0]",)),
            Node("sum", Add(), ("product", "relu", "halves[1]")),
            Node("fc", Linear(2, 3), ("sum",)),
        ]
    )


def test_forks_shared_weights_and_several_outputs() -> None:
    torch.manual_seed(1)
    network, x, target = graph(), torch.randn(3, 4), torch.tensor([0, 2, 1])
    for of in ("h.weight[1,2]", "h.bias[0]", "x[2,1]", "halves[0][1,1]", "halves[1][0,0]", "h[1,3]", "fc.weight[2,1]"):
        found = explain(network, x, of=of, target=target)
        assert found.difference < 1e-14, of
    text = explain(network, x, of="halves[0][1,1]", target=target).text
    assert "the sum over 2 branches: relu (norm" in text
    assert "from product = " in text
    assert "from relu = " in text
    assert "d_x = d_y weight     d_weight = d_yᵀ x" in text  # the docstring's own words


def test_shares_of_single_elements_are_right() -> None:
    """d_weight[o, i] of one output unit is Σ_n d_y[n, o] x[n, i]: the shares are these products, with both factors."""
    torch.manual_seed(2)
    network = Sequential({"fc": Linear(3, 2)}).to(dtype=torch.float64)
    x, target = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 1, 0])
    text = explain(network, x, of="fc.weight[1,2]", target=target, digits=8).text
    trace = network.forward(x)
    d_y = cross_entropy().evaluate(trace.outputs, target)[1]["fc"]
    products = sorted(zip(d_y[:, 1].tolist(), x[:, 2].tolist(), strict=True), key=lambda pair: -abs(pair[0] * pair[1]))
    line = next(line for line in text.splitlines() if "from fc = " in line)
    shown = numbers(line.split(" = ")[1].replace("− ", "−").replace("+ ", ""))
    assert shown == pytest.approx([number for pair in products for number in pair], rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_random_networks(seed: int) -> None:
    network = random_network(seed)
    x, target = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed)), torch.tensor([0, 3])
    trace = network.forward(x)
    for name in [*network.parameters][:: max(1, len(network.parameters) // 3)]:
        found = explain(network, x, of=_some_element(name, network.parameters[name], seed), target=target)
        assert found.difference <= 1e-12 * max(abs(found.swept), 1e-3), (name, found.swept)
    for name in [*network.keys][:: max(1, len(network.keys) // 3)]:
        found = explain(network, x, of=_some_element(name, trace[name], seed), target=target)
        assert found.difference <= 1e-12 * max(abs(found.swept), 1e-3), (name, found.swept)


def _some_element(name: str, tensor: Tensor, seed: int) -> str:
    place = torch.randint(tensor.numel(), (1,), generator=torch.Generator().manual_seed(seed))
    return f"{name}[{','.join(str(int(i)) for i in torch.unravel_index(place, tensor.shape))}]"


def test_the_network_and_its_numbers_stay_as_they_are() -> None:
    network = build_network("lenet", (1, 16, 16), 3)
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    explain(network, torch.randn(1, 1, 16, 16), of="conv1.weight[2,0,1,1]", target=torch.tensor([1]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())
    assert network.parameters["conv1.weight"].dtype == torch.float32


def test_what_does_not_reach_the_loss_is_zero() -> None:
    network = Network([Node("a", Linear(2, 2), ("x",)), Node("b", Linear(2, 2), ("x",))])
    loss = mean_squared_error(node="a")
    found = explain(network, torch.ones(1, 2), of="b.weight[0,0]", objective=loss, target=torch.ones(1, 2))
    assert (found.value, found.swept) == (0, 0)
    assert "L does not depend on b.weight" in found.text


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ("fc1.weight[9,9]", r"fc1.weight\[9,9\] does not exist: fc1.weight is 3 x 2, from .*\[0,0\] to .*\[2,1\]"),
        ("fc1.weight", r"say which element, as fc1.weight is 3 x 2"),
        ("fc1.weight[1]", "expected 2 numbers between the brackets"),
        ("fc1.weight[1,a]", "expected whole numbers between the brackets"),
        ("fc1.wieght[0,0]", "did you mean 'fc1.weight'"),
        ("fc3[0]", "the network has no 'fc3'"),
        ("x[0,1,2]", "expected 2 numbers between the brackets"),
    ],
)
def test_elements_that_do_not_exist(of: str, said: str) -> None:
    x, target = lecture_example()
    with pytest.raises(SettingError, match=said):
        explain(lecture(), x, of=of, target=target)


def test_when_numbers_cannot_be_had() -> None:
    x, target = lecture_example()
    with pytest.raises(SettingError, match="one example in a chain"):
        explain(lecture(), torch.cat([x, x]), of="x[0,0]", target=torch.tensor([0, 1]), by="numbers")
    softmax = Sequential(Linear(2, 2), Softmax(), Linear(2, 2))
    assert "Every path" not in explain(softmax, x, of="x[0]", target=target).text
    with pytest.raises(SettingError, match="by must be one of"):
        explain(lecture(), x, of="x[0]", target=target, by="letters")


def written(kind: str = "sigmoid", by: str = "numbers") -> Derivation:
    x, target = lecture_example()
    return explain(lecture(kind), x, of="fc1.weight[1,0]", target=target, by=by)


@pytest.mark.parametrize("by", ["numbers", "blocks"])
def test_latex_is_plain(by: str) -> None:
    """No sign that LaTeX without special packages does not know, brackets and dollars in pairs."""
    text = written(by=by).latex
    assert text.isascii() or {c for c in text if not c.isascii()} <= set("äöü")
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count("$") % 2 == 0
    assert text.count(r"\begin") == text.count(r"\end")
    assert "$$" not in text


def test_latex_and_html_say_the_same() -> None:
    found = written()
    assert r"\frac{\partial L}{\partial w_{21}} &= \frac{\partial L}{\partial y_{2}}" in found.latex
    assert "<msub><mi>w</mi><mn>21</mn></msub>" in found.html
    assert found._repr_html_() == found.html
    assert str(found) == found.text
    assert f"{found.value:.4g}" in found.html


def test_what_is_subtracted_has_one_sign() -> None:
    """1 − 2 · 3, and not 1 + −2 · 3."""
    found = written()
    assert "+ −" not in found.text
    assert "+ -" not in found.latex
    assert "<mo>+</mo><mrow><mo>−</mo>" not in found.html
    assert "<mo>+</mo><mrow><mrow><mo>−</mo>" not in found.html


def test_every_block_has_formulas() -> None:
    """Forward or a sentence, and backward: what explain shows comes from the docstring alone."""
    from blockprop import blocks
    from blockprop.learning import formulas_of

    without = [name for name, kind in blocks.BLOCKS.items() if not formulas_of(kind).back]
    assert without == ["Constant", "Filled", "NonMaxSuppression", "Range"]  # of these nothing goes back
    assert formulas_of(Linear(2, 3)).forward == "y = x weightᵀ + bias"
    assert "d_weight[o, i, k] = " in formulas_of(Conv2d).back
    assert formulas_of(MaxPool2d).back.startswith("d_x = d_y at the place")
    assert formulas_of(blocks.BatchNorm2d).back == formulas_of(blocks.BatchNorm1d).back


def test_numbers_are_written_as_people_write_them() -> None:
    from blockprop.learning.expressions import Number

    shown = [Number(value).text() for value in (0.0, 1.0, -0.25, 1.23456e-7, -5e9, math.inf, 123456.0)]
    assert shown == ["0", "1", "−0.25", "1.235·10⁻⁷", "−5·10⁹", "∞", "1.235·10⁵"]
