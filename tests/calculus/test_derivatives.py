"""Derivatives of functions written with blocks: by hand, by finite differences, and beside autograd."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from blockprop.blocks import (
    Abs,
    Exp,
    Function,
    Linear,
    Log,
    Max,
    MaxPool2d,
    Min,
    ReLU,
    Reshape,
    Sigmoid,
    Softmax,
    Split,
    Sqrt,
    Tanh,
)
from blockprop.calculus import (
    Traced,
    directional_derivative,
    gradient,
    jacobian,
    linearize,
    one_sided_slopes,
    record,
    value_at,
)
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError, GraphError, NotFiniteError, SettingError, ShapeError, UnsupportedError
from blockprop.networks.lecture import lecture, lecture_example
from tests.calculus.functions import SIZE, random_function
from tests.random_networks import random_network


class Centered(Block):
    """y = x + 1e-6 (x − mean of the rows)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        return x + 1e-6 * (x - x.mean(0)), None

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y + 1e-6 * (d_y - d_y.mean(0)),)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


A, X, V = numbers(3, 3), numbers(3, 1, seed=1), numbers(3, seed=2)


def quadratic(x: Any, a: Any) -> Any:
    return x.T @ a @ x


def test_the_quadratic_form() -> None:
    """∂(XᵀAX)/∂X = Xᵀ(A + Aᵀ) and ∂(XᵀAX)/∂A = XXᵀ, for columns and for vectors."""
    close(jacobian(quadratic, X, A), X.T @ (A + A.T))
    close(jacobian(quadratic, X, A, wrt=1), X @ X.T)
    close(jacobian(quadratic, V, A), V @ (A + A.T))
    close(gradient(quadratic, X, A), (A + A.T) @ X)
    assert gradient(quadratic, [[1.0], [2.0]], [[1.0, 3.0], [0.0, 1.0]]).tolist() == [[8.0], [7.0]]


def test_a_product_by_its_left_factor() -> None:
    """Y = W X, L = tr(Cᵀ Y): ∂L/∂Y = Cᵀ, ∂L/∂W = X ∂L/∂Y and ∂L/∂X = ∂L/∂Y W, in numerator layout."""
    w, x, c = numbers(2, 3), numbers(3, 4, seed=1), numbers(2, 4, seed=2)
    d_y = jacobian(lambda y: (c.T @ y).trace(), w @ x)
    close(d_y, c.T)
    close(jacobian(lambda w: (c.T @ (w @ x)).trace(), w), x @ d_y)
    close(jacobian(lambda x: (c.T @ (w @ x)).trace(), x), d_y @ w)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (lambda x: x**3, 2.0, 12.0),
        (lambda t: Function("sin")(t * torch.tensor([1.0, 2.0], dtype=torch.float64)), 0.0, [1.0, 2.0]),
        (lambda t: t * torch.tensor([[1.0], [2.0]], dtype=torch.float64), 5.0, [[1.0], [2.0]]),
        (lambda t: t * torch.arange(6.0, dtype=torch.float64).reshape(2, 3), 5.0, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
        (lambda x: x @ x, [1.0, 2.0], [2.0, 4.0]),
        (lambda x: (x.T @ x).reshape(()), [[1.0], [2.0]], [[2.0, 4.0]]),
        (lambda x: x * x, [1.0, 2.0], [[2.0, 0.0], [0.0, 4.0]]),
        (lambda x: x * x, [[1.0], [2.0]], [[2.0, 0.0], [0.0, 4.0]]),
        (lambda x: x.sum(), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[1.0, 1.0]] * 3),
        (lambda x: x[0] * x[1], [[1.0, 2.0], [4.0, 5.0]], [[[4.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [5.0, 2.0]]]),
        (lambda x: x.trace(), [[1.0, 2.0], [4.0, 5.0]], [[1.0, 0.0], [0.0, 1.0]]),
        (lambda x: Max()(x[0], x[1]), [3.0, 5.0], [0.0, 1.0]),
        (lambda x: x, 4.0, 1.0),
        (lambda x: 2 - x, 4.0, -1.0),
        (lambda x: 8 / x, 4.0, -0.5),
        (lambda x: 1**x + x**0 - -x, 4.0, 1.0),
    ],
)
def test_by_hand_in_numerator_layout(f: Callable[..., Any], x: Any, expected: Any) -> None:
    found = jacobian(f, x)
    assert found.tolist() == expected


def test_the_shapes_are_those_of_the_table() -> None:
    makers: dict[str, Callable[[Traced], Traced]] = {
        "scalar": lambda s: s,
        "vector": lambda s: s * torch.ones(2, dtype=torch.float64),
        "column": lambda s: s * torch.ones(2, 1, dtype=torch.float64),
        "matrix": lambda s: s * torch.ones(2, 3, dtype=torch.float64),
    }
    points = {"scalar": (), "one": (1, 1), "vector": (4,), "column": (4, 1), "row": (1, 4), "matrix": (4, 5)}
    shapes = {
        name: [tuple(jacobian(lambda x, make=make: make(x.sum()), numbers(*size)).shape) for size in points.values()]
        for name, make in makers.items()
    }
    assert shapes == {
        "scalar": [(), (), (4,), (1, 4), (1, 4), (5, 4)],
        "vector": [(2,), (2,), (2, 4), (2, 4), (2, 4), (2, 5, 4)],
        "column": [(2, 1), (2, 1), (2, 4), (2, 4), (2, 4), (2, 5, 4)],
        "matrix": [(2, 3), (2, 3), (2, 3, 4), (2, 3, 4), (2, 3, 4), (2, 3, 5, 4)],
    }


def test_elementwise_functions_have_diagonal_jacobians() -> None:
    z = numbers(4)
    close(jacobian(Sigmoid(), z), torch.diag(torch.sigmoid(z) * (1 - torch.sigmoid(z))))
    w = numbers(4, 4, seed=3)
    close(jacobian(lambda x: Tanh()(w @ x), z), torch.diag(1 - torch.tanh(w @ z) ** 2) @ w)


def test_the_derivatives_of_functions_of_functions_multiply() -> None:
    w, u, x = numbers(3, 4), numbers(2, 3, seed=1), numbers(4, seed=2)
    h = value_at(lambda x: Tanh()(w @ x), x)
    outer, inner = jacobian(lambda h: Exp()(u @ h), h), jacobian(lambda x: Tanh()(w @ x), x)
    close(jacobian(lambda x: Exp()(u @ Tanh()(w @ x)), x), outer @ inner)


def test_the_differential_and_the_trace_rule() -> None:
    """ΔL = tr((∂L/∂W) ΔW): exact for a linear L, and nearest of all for others."""
    w, d_w, c = numbers(2, 3), numbers(2, 3, seed=1), numbers(3, 2, seed=2)
    linear = linearize(lambda w: (c @ w).trace(), w)
    close(linear.change(d_w), (c @ d_w).trace())
    close(linear(w + d_w), (c @ (w + d_w)).trace())

    def curved(w: Any) -> Any:
        return Function("sin")(w @ c).sum()

    close(linearize(curved, w).change(d_w), (jacobian(curved, w) @ d_w).trace())
    misses = [float(value_at(curved, w + h * d_w) - linearize(curved, w)(w + h * d_w)) / h**2 for h in (1e-3, 1e-4)]
    assert misses[0] == pytest.approx(misses[1], rel=0.05)  # what is left is of second order
    both = linearize(quadratic, X, A)
    close(both.change(X, A), 3 * quadratic(X, A))  # homogeneous of degree 3 in both together (Euler)


def test_the_directional_derivative_of_a_function_of_a_matrix() -> None:
    """D_V of tr(X²) is 2 tr(X V); of X² it is XV + VX; of the inner product with itself 2 ⟨X, V⟩."""
    x, v = numbers(3, 3), numbers(3, 3, seed=1)
    close(directional_derivative(lambda x: (x @ x).trace(), x, along=v), 2 * (x @ v).trace())
    close(directional_derivative(lambda x: x @ x, x, along=v), x @ v + v @ x)
    close(directional_derivative(lambda a, x: (a * x * x).sum(), A, x, along=v, wrt=1), (2 * A * x * v).sum())


@pytest.mark.parametrize("seed", range(12))
def test_random_functions_beside_autograd(seed: int) -> None:
    ours, theirs = random_function(seed)
    x, v = numbers(SIZE, SIZE, seed=100 + seed), numbers(SIZE, SIZE, seed=200 + seed)
    close(value_at(ours, x), theirs(x))
    by_torch = torch.autograd.functional.jacobian(theirs, x)
    close(jacobian(ours, x), by_torch.transpose(-1, -2))
    close(directional_derivative(ours, x, along=v), (by_torch * v).sum((2, 3)))
    close(gradient(lambda x: ours(x).sum(), x), by_torch.sum((0, 1)))
    behind, ahead = one_sided_slopes(ours, x, along=v)
    torch.testing.assert_close((behind + ahead) / 2, directional_derivative(ours, x, along=v), rtol=1e-6, atol=1e-6)


def test_networks_by_inputs_parameters_and_nodes() -> None:
    x, target = lecture_example()
    net = lecture("tanh")
    w, b = net.parameters["fc1.weight"], net.parameters["fc1.bias"]
    u, c = net.parameters["fc2.weight"], net.parameters["fc2.bias"]
    slopes = torch.diag(1 - torch.tanh(w @ x[0] + b) ** 2)
    close(jacobian(net, x), u @ slopes @ w)
    close(jacobian(net, x, wrt="tanh1"), u)
    close(jacobian(net, x, wrt="fc2.bias"), torch.eye(2))

    def loss(x: Any) -> Any:
        z = net(x)[0]
        return Log()(Exp()(z).sum()) - z[int(target)]

    seeds = cross_entropy().evaluate({"fc2": net(x)}, target)[1]
    trace = net.forward(x)
    swept = net.backward(trace, seeds, ("x", "fc1.weight", "fc2.bias"))
    for name, derivative in swept.items():
        close(gradient(loss, x, wrt=name), derivative)
    assert c.tolist() == [0.5, 1.5]


ROWS = {
    "an own sweep for each row": Sequential(Linear(6, 9), Tanh(), Linear(9, 9)),
    "rows of their own": Sequential(Linear(6, 9), Softmax(1)),
    "rows that are mixed": Sequential(Linear(6, 9), Softmax(0)),
    "rows that are mixed by little": Sequential(Linear(6, 9), Centered()),
    "sizes that are fixed": Sequential(Linear(6, 9), Reshape((1, 3, 3), 0)),
    "the first axis gone": Sequential(Linear(6, 9), Reshape((9,), 0)),
}


@pytest.mark.parametrize("name", ROWS)
def test_many_rows_at_once_are_those_of_one_example(name: str) -> None:
    """Also where a batch would mix its rows, or cannot be had."""
    network = ROWS[name].copy().to(dtype=torch.float64)
    for parameter in network.parameters.values():
        parameter.copy_(numbers(*parameter.shape, seed=parameter.numel()))
    x = numbers(1, 6)
    trace = network.forward(x)
    rows = []
    for i in range(9):
        seed = torch.zeros(9, dtype=torch.float64)
        seed[i] = 1
        rows.append(network.backward(trace, seed.reshape(trace.output.shape), "x", keep_trace=True)["x"])
    expected = torch.cat(rows)
    close(jacobian(network, x).reshape(9, 6), expected)
    close(directional_derivative(network, x, along=2 * x).flatten(), expected @ (2 * x[0]))
    close(linearize(network, x).change(x).flatten(), expected @ x[0])


def test_a_batch_takes_far_fewer_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Sequential(Linear(5, 200), Tanh()).to(dtype=torch.float64)
    for parameter in network.parameters.values():
        parameter.copy_(numbers(*parameter.shape))
    sweeps: list[int] = []
    backward = Network.backward
    monkeypatch.setattr(Network, "backward", lambda *a, **settings: sweeps.append(1) or backward(*a, **settings))
    assert jacobian(network, numbers(1, 5)).shape == (200, 5)
    assert (
        len(sweeps) == 9
    )  # 4 batches of up to 64, each with the sweep of one example that it is held against; and one
    # that is held against differences


def test_networks_and_blocks_in_float32_stay_there() -> None:
    network = random_network(3)
    x = torch.randn(2, 4, 8, 8)
    found = gradient(lambda x: network(x).sum(), x)
    trace = network.forward(x)
    expected = network.backward(trace, torch.ones_like(trace.output), "x")["x"]
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert gradient(lambda x: (2 * x / 3 + 1).sum(), torch.ones(2)).dtype == torch.float32
    assert jacobian(Linear(2, 3), [[1.0, 2.0]]).dtype == torch.float32
    assert jacobian(MaxPool2d(2), torch.arange(4.0).reshape(1, 1, 2, 2)).flatten().tolist() == [0, 0, 0, 1]


def test_several_outputs_of_a_block_and_a_network_called_twice() -> None:
    x = numbers(1, 4)

    def f(x: Any) -> Any:
        a, b = Split((2, 2))(x)
        return (net(a) * net(b)).sum()

    net = lecture("sigmoid")

    def forward(x: Tensor) -> Tensor:
        p = net.parameters
        return torch.sigmoid(x @ p["fc1.weight"].T + p["fc1.bias"]) @ p["fc2.weight"].T + p["fc2.bias"]

    by_torch = torch.autograd.functional.jacobian(lambda x: (forward(x[:, :2]) * forward(x[:, 2:])).sum(), x)
    close(gradient(f, x), by_torch)
    recording = record(f, x)
    recording.network.backward(recording.trace, torch.ones((), dtype=torch.float64), "x")
    with pytest.raises(GraphError, match="an earlier backward pass used it up"):
        recording.network.backward(recording.trace, torch.ones((), dtype=torch.float64), "x")


def test_what_is_written_down_is_a_network() -> None:
    recording = record(lambda a, b: Tanh()(a @ b) + 1, numbers(2, 2), numbers(2, 2, seed=1))
    assert [node.name for node in recording.network.nodes] == ["matmul1", "tanh1", "constant1", "add1"]
    assert recording.inputs == ("a", "b")
    close(recording.network(A[:2, :2], A[:2, :2]), torch.tanh(A[:2, :2] @ A[:2, :2]) + 1)


def test_a_function_may_decide_by_numbers() -> None:
    def f(x: Any) -> Any:
        return x**2 if float(x) > 1 else 3 * x

    assert [float(gradient(f, x)) for x in (2.0, 0.5)] == [4.0, 3.0]
    with pytest.raises(SettingError, match="its slope is 3 to the left and without bound to the right"):
        gradient(f, 1.0)  # 3x jumps to x²


@pytest.mark.parametrize(
    ("f", "x", "said"),
    [
        (lambda x: Abs()(x), 0.0, r"at x = 0: its slope is -1 to the left and 1 to the right"),
        (lambda x: Max()(x[0], x[1]), [2.0, 2.0], r"at x\[0\] = 2: its slope is 0 to the left and 1 to the right"),
        (lambda x: ReLU()(x) * 5, [[1.0, 0.0]], r"at x\[0, 1\] = 0: its slope is 0 to the left and 5 to the right"),
        (lambda x: Function("floor")(x), 3.0, "without bound to the left and 0 to the right"),
        (lambda x: Sqrt()(x), 0.0, "not a number to the left and without bound to the right"),
        (lambda x: Abs()(x - 1e6), 1e6, "at x = 1e.06: its slope is -1"),
    ],
)
def test_a_point_without_derivative(f: Callable[..., Any], x: Any, said: str) -> None:
    for derivative in (jacobian, lambda f, x: linearize(f, x), lambda f, x: directional_derivative(f, x, along=x)):
        with pytest.raises(SettingError, match=said):
            derivative(f, x)


def test_one_kink_among_many_elements() -> None:
    x = numbers(30, 40)
    x[17, 23] = 0.25
    with pytest.raises(SettingError, match=r"at x\[17, 23\] = 0.25: its slope is -3 to the left and 3 to the right"):
        gradient(lambda x: (x * x).sum() + Abs()(3 * x[17, 23] - 0.75) - x[17, 23] / 2, x)
    assert gradient(lambda x: Abs()(x).sum(), x).equal(x.sign())


def test_a_kink_that_no_element_shows() -> None:
    with pytest.raises(SettingError, match="no derivative at x, along a direction: its slope is -1"):
        gradient(lambda x: Min()(abs(x[0]), abs(x[1])), [0.0, 0.0])


def test_what_bends_much_is_no_kink() -> None:
    assert float(gradient(lambda x: 1e6 * x**2, 0.0)) == 0
    assert float(gradient(lambda x: Tanh()(1e4 * x), 0.0)) == 1e4
    assert float(gradient(lambda x: Function("sin")(1000 * x) * 1e5, 0.3)) == pytest.approx(1e8 * math.cos(300))
    for i in range(50):
        assert float(gradient(lambda x: 1e9 + x, 1 + i / 7)) == 1  # rounding of 1e9 is no kink either
    assert float(gradient(lambda x: Abs()(x), 1e-3)) == 1


def test_at_a_kink_the_blocks_decide_if_asked() -> None:
    assert float(gradient(lambda x: Abs()(x), 0.0, kinks=True)) == 0
    assert jacobian(lambda x: Max()(x[0], x[1]), [2.0, 2.0], kinks=True).tolist() == [1, 0]
    assert linearize(ReLU(), 0.0, kinks=True).change(1.0).tolist() == 0


CASES: list[tuple[Callable[[], Any], type[BlockpropError], str]] = [
    (lambda: gradient(lambda x: torch.sin(x), 1.0), UnsupportedError, r'a block can: Function\("sin"\)\(v\)'),
    (lambda: gradient(lambda x: torch.relu(x), 1.0), UnsupportedError, r"ReLU\(\)\(v\)"),
    (lambda: gradient(lambda x: x.tensor * 2, 1.0), SettingError, "nothing goes back"),
    (lambda: gradient(lambda x: (x, x), 1.0), SettingError, "came several"),
    (lambda: gradient(lambda x: x if x else 1, 1.0), SettingError, r"float\(v\) > 0"),
    (lambda: gradient(lambda x: x * x, [1.0, 2.0]), ShapeError, "this one gives 2; jacobian takes any"),
    (lambda: gradient("x", 1.0), SettingError, "a network, a block or a function"),
    (lambda: gradient(lambda x: x, "one"), ShapeError, "expected real numbers"),
    (lambda: gradient(lambda x: x, 1j), ShapeError, "expected real numbers"),
    (lambda: gradient(lambda x: x, 1.0, wrt=1), SettingError, "has 1 input,"),
    (lambda: gradient(lecture(), numbers(1, 2), wrt="fc1.wieght"), GraphError, "did you mean 'fc1.weight'"),
    (lambda: gradient(lambda x: Log()(x), 0.0), NotFiniteError, r"Log\(\) \(node 'log1'\) gives -inf for 0"),
    (lambda: gradient(lambda x: x * math.inf, 1.0), NotFiniteError, "not finite here: inf stands in it"),
    (lambda: gradient(lambda x: Sqrt()(x), 0.0, kinks=True), NotFiniteError, "the derivative by x is inf at 0"),
    (lambda: jacobian(lambda x: x @ A, [1.0, 2.0]), ShapeError, "node 'einsum1'"),
    (lambda: directional_derivative(lambda x: x, [1.0], along=[1.0, 2.0]), ShapeError, "a direction of shape 1"),
    (lambda: linearize(quadratic, X, A)(X), ShapeError, "has 2 inputs, 1 came"),
    (lambda: gradient(lambda x: x.T, numbers(2, 2, 2)), ShapeError, "Transpose takes any axes"),
    (lambda: gradient(lambda x: x.trace(), numbers(2, 3)), ShapeError, "a square matrix"),
    (lambda: gradient(lambda x: x[x], [1.0]), UnsupportedError, "whole numbers and slices"),
    (lambda: gradient(lambda x: Softmax(1)(x), [1.0]), ShapeError, "node 'softmax1'"),
    (lambda: gradient(Network([], ("x",), ("x",)), 1.0, 2.0), ShapeError, "takes 1 inputs"),
    (lambda: gradient(lambda x: Linear(2, 2)(x), numbers(1, 2)), BlockpropError, "node 'linear1'"),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_goes_wrong_is_said(case: int) -> None:
    call, error, said = CASES[case]
    with pytest.raises(error, match=said):
        call()


def test_a_value_of_another_call_is_refused() -> None:
    kept: list[Any] = []
    record(lambda x: kept.append(x) or x, 1.0)
    with pytest.raises(SettingError, match="of one call of a function was used in another"):
        record(lambda x: x + kept[0], 1.0)
    assert repr(kept[0]) == "Traced(x, one number)"
