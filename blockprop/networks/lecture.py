"""The network of the lecture: two inputs, three hidden units, two outputs, with numbers for computing by hand.

    x (2)  →  fc1: a = W x + b (3)  →  y = φ(a)  →  fc2: z = U y + c (2)        L = −Σ rᵢ log softmax(z)ᵢ

    W = ⎡  1   1/2 ⎤   b = ⎡ −1  ⎤      U = ⎡  1  −1   1/2 ⎤   c = ⎡ 1/2 ⎤
        ⎢ −1   1/2 ⎥       ⎢ −1  ⎥          ⎣ −1  1/2   1  ⎦       ⎣ 3/2 ⎦
        ⎣ 1/2   1  ⎦       ⎣−1/2 ⎦

With x = (1, 2): a = (1, −1, 2). With φ = ReLU: y = (1, 0, 2), z = (5/2, 5/2), and softmax(z) = (1/2, 1/2), so that
every number is a fraction.
"""

import torch
from torch import Tensor

from blockprop.blocks import Linear, ReLU, Sigmoid, Tanh
from blockprop.engine.about import About
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError, did_you_mean

ACTIVATIONS: dict[str, type[Block]] = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU}
"""What φ may be; the first is what it usually is."""
UNITS = (2, 3, 2)
WEIGHTS = {
    "fc1.weight": [[1.0, 0.5], [-1.0, 0.5], [0.5, 1.0]],
    "fc1.bias": [-1.0, -1.0, -0.5],
    "fc2.weight": [[1.0, -1.0, 0.5], [-1.0, 0.5, 1.0]],
    "fc2.bias": [0.5, 1.5],
}


def lecture(activation: str = "sigmoid") -> Network:
    """The network of the lecture, 2-3-2 units, in float64; its φ is "sigmoid", "tanh" or "relu".

    Its nodes are fc1, then the activation's name with a 1, then fc2. SettingError for another activation.
    """
    if activation not in ACTIVATIONS:
        raise SettingError(
            f"the lecture's network has one of {', '.join(ACTIVATIONS)} between its layers, not {activation!r}"
            f"{did_you_mean(activation, ACTIVATIONS)}"
        )
    features, hidden, outputs = UNITS
    network = Sequential(
        {"fc1": Linear(features, hidden), f"{activation}1": ACTIVATIONS[activation]()},
        {"fc2": Linear(hidden, outputs)},
    ).to(dtype=torch.float64)
    for name, tensor in network.parameters.items():
        tensor.copy_(torch.tensor(WEIGHTS[name]))
    network.meta = About(spec=f"lecture:{activation}", shape=[features], classes=["first", "second"])
    return network


def lecture_example() -> tuple[Tensor, Tensor]:
    """(x, target): the example that the lecture computes with, one row x = (1, 2), of the class with index 0."""
    return torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([0])
