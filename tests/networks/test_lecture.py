"""The lecture's network: every number by hand, in fractions, in scalars, and as matrices."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.errors import SettingError
from blockprop.networks import build_network, lecture, lecture_example

RATE = 0.5


def computed(network: Network) -> dict[str, Tensor]:
    """All that the two passes give for the lecture's example, by name; derivatives with a d_ in front."""
    x, target = lecture_example()
    trace = network.forward(x)
    loss, seeds = cross_entropy().evaluate(trace.outputs, target)
    hidden = network.nodes[1].name
    wrt = ["parameters", "x", "fc1", hidden, "fc2"]
    numbers = {"d_" + name: d for name, d in network.backward(trace, seeds, wrt).items()}
    return numbers | {
        "a": trace["fc1"],
        "y": trace[hidden],
        "z": trace["fc2"],
        "L": loss,
        "d_y": numbers["d_" + hidden],
    }


def assert_equal(found: Tensor, expected: object) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).view(found.shape), rtol=0, atol=1e-15)


def test_with_relu_every_number_is_a_fraction() -> None:
    found = computed(lecture("relu"))
    assert_equal(found["a"], [1, -1, 2])
    assert_equal(found["y"], [1, 0, 2])
    assert_equal(found["z"], [5 / 2, 5 / 2])  # 1 − 0 + 1 + 1/2 and −1 + 0 + 2 + 3/2: r̂ = (1/2, 1/2)
    assert_equal(found["L"], math.log(2))
    assert_equal(found["d_fc2"], [-1 / 2, 1 / 2])  # r̂ − r
    assert_equal(found["d_fc2.weight"], [[-1 / 2, 0, -1], [1 / 2, 0, 1]])
    assert_equal(found["d_fc2.bias"], [-1 / 2, 1 / 2])
    assert_equal(found["d_y"], [-1, 3 / 4, 1 / 4])  # −1/2 − 1/2, 1/2 + 1/4, −1/4 + 1/2
    assert_equal(found["d_fc1"], [-1, 0, 1 / 4])
    assert_equal(found["d_fc1.weight"], [[-1, -2], [0, 0], [1 / 4, 1 / 2]])
    assert_equal(found["d_fc1.bias"], [-1, 0, 1 / 4])
    assert_equal(found["d_x"], [-7 / 8, -1 / 4])  # −1 + 0 + 1/8, −1/2 + 0 + 1/4


def test_one_step_of_gradient_descent_with_relu() -> None:
    network = lecture("relu")
    found = computed(network)
    for name, weight in network.parameters.items():
        weight -= RATE * found["d_" + name]
    assert_equal(network.parameters["fc1.weight"], [[3 / 2, 3 / 2], [-1, 1 / 2], [3 / 8, 3 / 4]])
    assert_equal(network.parameters["fc1.bias"], [-1 / 2, -1, -5 / 8])
    assert_equal(network.parameters["fc2.weight"], [[5 / 4, -1, 1], [-5 / 4, 1 / 2, 1 / 2]])
    assert_equal(network.parameters["fc2.bias"], [3 / 4, 5 / 4])
    assert computed(network)["L"] < found["L"]


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


KINDS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "sigmoid": (sigmoid, lambda a: sigmoid(a) * (1 - sigmoid(a))),
    "tanh": (math.tanh, lambda a: 1 - math.tanh(a) ** 2),
    "relu": (lambda a: max(a, 0.0), lambda a: float(a > 0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_in_scalars(kind: str) -> None:
    phi, slope = KINDS[kind]
    x1, x2 = 1.0, 2.0
    w11, w12, w21, w22, w31, w32 = 1.0, 0.5, -1.0, 0.5, 0.5, 1.0
    b1, b2, b3 = -1.0, -1.0, -0.5
    u11, u12, u13, u21, u22, u23 = 1.0, -1.0, 0.5, -1.0, 0.5, 1.0
    c1, c2 = 0.5, 1.5

    a1, a2, a3 = w11 * x1 + w12 * x2 + b1, w21 * x1 + w22 * x2 + b2, w31 * x1 + w32 * x2 + b3
    y1, y2, y3 = phi(a1), phi(a2), phi(a3)
    z1, z2 = u11 * y1 + u12 * y2 + u13 * y3 + c1, u21 * y1 + u22 * y2 + u23 * y3 + c2
    p1 = math.exp(z1) / (math.exp(z1) + math.exp(z2))
    p2 = 1 - p1

    d_z1, d_z2 = p1 - 1, p2
    d_y1, d_y2, d_y3 = d_z1 * u11 + d_z2 * u21, d_z1 * u12 + d_z2 * u22, d_z1 * u13 + d_z2 * u23
    d_a1, d_a2, d_a3 = d_y1 * slope(a1), d_y2 * slope(a2), d_y3 * slope(a3)

    found = computed(lecture(kind))
    assert_equal(found["a"], [a1, a2, a3])
    assert_equal(found["y"], [y1, y2, y3])
    assert_equal(found["z"], [z1, z2])
    assert_equal(found["L"], -math.log(p1))
    assert_equal(found["d_fc2"], [d_z1, d_z2])
    assert_equal(found["d_fc2.weight"], [[d_z1 * y1, d_z1 * y2, d_z1 * y3], [d_z2 * y1, d_z2 * y2, d_z2 * y3]])
    assert_equal(found["d_fc2.bias"], [d_z1, d_z2])
    assert_equal(found["d_y"], [d_y1, d_y2, d_y3])
    assert_equal(found["d_fc1"], [d_a1, d_a2, d_a3])
    assert_equal(found["d_fc1.weight"], [[d_a1 * x1, d_a1 * x2], [d_a2 * x1, d_a2 * x2], [d_a3 * x1, d_a3 * x2]])
    assert_equal(found["d_fc1.bias"], [d_a1, d_a2, d_a3])
    assert_equal(found["d_x"], [d_a1 * w11 + d_a2 * w21 + d_a3 * w31, d_a1 * w12 + d_a2 * w22 + d_a3 * w32])


@pytest.mark.parametrize("kind", KINDS)
def test_as_matrices(kind: str) -> None:
    """One example as a column, as lectures write it: Y = φ(W X + b), Z = U Y + c."""
    network = lecture(kind)
    w, b, u, c = (tensor.view(len(tensor), -1) for tensor in network.parameters.values())
    x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    a = w @ x + b
    y = a.clone().apply_(KINDS[kind][0])
    d_z = (u @ y + c).softmax(0) - torch.tensor([[1.0], [0.0]])
    d_a = torch.diag(a.clone().apply_(KINDS[kind][1]).flatten()) @ u.T @ d_z
    found = computed(network)
    for name, expected in (
        ("fc2", d_z),
        ("fc2.weight", d_z @ y.T),
        ("fc2.bias", d_z),
        ("y", u.T @ d_z),
        ("fc1", d_a),
        ("fc1.weight", d_a @ x.T),
        ("fc1.bias", d_a),
        ("x", w.T @ d_a),
    ):
        assert_equal(found["d_" + name], expected.tolist())


def test_it_is_a_network_by_name() -> None:
    for spec, kind in (("lecture", "sigmoid"), ("lecture:tanh", "tanh"), ("lecture:relu", "relu")):
        named = build_network(spec, 2, 2)
        assert [node.name for node in named.nodes] == ["fc1", f"{kind}1", "fc2"]
        for name, weight in lecture(kind).parameters.items():
            assert torch.equal(named.parameters[name].double(), weight)
    with pytest.raises(SettingError, match="takes examples of 2 numbers and gives 2"):
        build_network("lecture", 3, 2)
    with pytest.raises(SettingError, match="not 'tan'; did you mean 'tanh'"):
        build_network("lecture:tan", 2, 2)
