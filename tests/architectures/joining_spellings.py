"""The ways to bring two branches together: sums, products, concatenations, in place and not."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from tests.architectures.architecture import pictures


class Joined(nn.Module):
    """Two convolutions of the same picture, joined."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 4, 3, padding=1)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.conv1(x), self.conv2(x))


def add_augmented(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


def sub_augmented(x: Tensor, y: Tensor) -> Tensor:
    x -= y
    return x


def mul_augmented(x: Tensor, y: Tensor) -> Tensor:
    x *= y
    return x


def div_augmented(x: Tensor, y: Tensor) -> Tensor:
    x /= 2
    return x + y


def add_augmented_shortcut(x: Tensor, y: Tensor) -> Tensor:
    """The shortcut is the same tensor, so it has changed, too."""
    identity = x
    x += y
    return x * identity


def add_augmented_operand(x: Tensor, y: Tensor) -> Tensor:
    """y is added before it changes."""
    z = x + y
    y *= 3
    return z * y


JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, y: x + y,
    "add_augmented": add_augmented,
    "add_augmented_shortcut": add_augmented_shortcut,
    "add_augmented_operand": add_augmented_operand,
    "add_torch": lambda x, y: torch.add(x, y),
    "add_alpha": lambda x, y: torch.add(x, y, alpha=0.5),
    "add_inplace": lambda x, y: x.add_(y),
    "add_inplace_alpha": lambda x, y: x.add_(y, alpha=-2),
    "add_itself": lambda x, y: x + x + y,
    "add_number": lambda x, y: x + 1 + y,
    "add_builtin_sum": lambda x, y: sum([x, y]),
    "add_stacked": lambda x, y: torch.stack([x, y]).sum(0),
    "add_broadcast": lambda x, y: x + y.mean((2, 3), keepdim=True),
    "add_broadcast_both": lambda x, y: x[:, :, :1] + y[:, :1],
    "sub": lambda x, y: x - y,
    "sub_alpha": lambda x, y: torch.sub(x, y, alpha=2),
    "sub_augmented": sub_augmented,
    "sub_from_number": lambda x, y: 1 - x - y,
    "neg": lambda x, y: -x + y,
    "mul": lambda x, y: x * y,
    "mul_augmented": mul_augmented,
    "mul_inplace": lambda x, y: x.mul_(y),
    "mul_torch": lambda x, y: torch.mul(x, y),
    "mul_number": lambda x, y: 0.5 * x + y * 2,
    "mul_itself": lambda x, y: x * x + y,
    "mul_gate": lambda x, y: torch.sigmoid(x) * torch.tanh(y),
    "div": lambda x, y: x / (y.abs() + 1),
    "div_augmented": div_augmented,
    "div_number": lambda x, y: x / 3 + y,
    "div_of_number": lambda x, y: 1 / (1 + x**2) + y,
    "pow": lambda x, y: x**2 + y.pow(3),
    "square": lambda x, y: x.square() + (y.abs() + 0.1).sqrt(),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.5),
    "lerp": lambda x, y: torch.lerp(x, y, 0.25),
    "maximum": lambda x, y: torch.maximum(x, y),
    "minimum": lambda x, y: torch.min(x, y),
    "where": lambda x, y: torch.where(x > y, x, 0.1 * y),
    "matmul": lambda x, y: x @ y.transpose(-2, -1),
    "matmul_torch": lambda x, y: torch.matmul(x.flatten(2), y.flatten(2).mT),
    "bmm": lambda x, y: torch.bmm(x.flatten(2), y.flatten(2).transpose(1, 2)),
    "einsum": lambda x, y: torch.einsum("nchw,ndhw->ncd", x, y),
    "einsum_elementwise": lambda x, y: torch.einsum("nchw,nchw->nc", x, y),
    "cat": lambda x, y: torch.cat([x, y], 1),
    "cat_tuple": lambda x, y: torch.cat((x, y), dim=1),
    "cat_last": lambda x, y: torch.cat([x, y], dim=-1),
    "cat_twice_the_same": lambda x, y: torch.cat([x, y, x], 1),
    "concat": lambda x, y: torch.concat([x, y], 2),
    "hstack": lambda x, y: torch.hstack([x, y]),
    "stack": lambda x, y: torch.stack([x, y], dim=1),
    "stack_last": lambda x, y: torch.stack((x, y), -1).flatten(-2),
    "cosine": lambda x, y: nn.functional.cosine_similarity(x, y, dim=1),
}

SPELLINGS = {name: pictures(partial(Joined, join), 6, 6) for name, join in JOINS.items()}
