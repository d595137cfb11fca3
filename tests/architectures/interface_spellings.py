"""What goes in and what comes out: several inputs, keywords, dicts and tuples, ends of classifiers, types of number."""

from collections import namedtuple
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.architectures.architecture import PICTURE, Architecture, other, pictures
from tests.architectures.module_spellings import Convolutions, Scored

Features = namedtuple("Features", ["low", "high"])


class SharedBetweenBranches(nn.Module):
    """Siamese: the same features of both pictures, compared."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Tanh())
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head((self.body(x) - self.body(y)).abs().mean((2, 3)))


class TwoInputs(Convolutions):
    """A picture and numbers that scale and shift its maps (Perez et al. 2018, FiLM)."""

    def __init__(self) -> None:
        super().__init__()
        self.film = nn.Linear(5, 8)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gamma, beta = self.film(condition).chunk(2, dim=-1)
        x = self.conv1(x) * gamma[:, :, None, None] + beta[..., None, None]
        return self.conv2(F.relu(x))


class KeywordOnly(Convolutions):
    """Options with defaults, one of them a tensor that may be missing."""

    def forward(self, x: Tensor, *, scale: float = 0.5, skip: bool = False, mask: Tensor | None = None) -> Tensor:
        x = self.conv1(x) * scale
        if mask is not None:
            x = x * mask
        return x if skip else self.conv2(x)


class OptionalInput(Convolutions):
    """A second input that may be missing."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.conv2(self.conv1(x))
        return x if y is None else x + y


class TupleOutput(Convolutions):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.relu(self.conv1(x))
        return low, self.conv2(low)


class ListOutput(Convolutions):
    def forward(self, x: Tensor) -> list[Tensor]:
        low = self.conv1(x)
        return [self.conv2(low), low.mean((2, 3))]


class DictOutput(Scored):
    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        features = self.features(x)
        return {"features": features, "scores": self.fc(features)}


class NamedOutput(Convolutions):
    def forward(self, x: Tensor) -> Features:
        low = self.conv1(x)
        return Features(low, self.conv2(low))


class NestedOutput(Convolutions):
    def forward(self, x: Tensor) -> dict[str, object]:
        low = self.conv1(x)
        return {"maps": [low, self.conv2(low)], "more": (low.mean(1), {"max": low.amax(1)})}


class SameOutputTwice(Convolutions):
    """One tensor twice, and the picture itself."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.conv2(self.conv1(x))
        return y, y, x


class CastInside(Convolutions):
    """float32 outside, bfloat16 inside."""

    def __init__(self) -> None:
        super().__init__()
        self.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(x.to(torch.bfloat16)))).float()


class Ended(Scored):
    """Three scores, and what is done with them at the end."""

    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.fc(self.features(x)))


ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "end_softmax": lambda x: F.softmax(x, dim=1),
    "end_softmax_method": lambda x: x.softmax(-1),
    "end_softmax_module": nn.Softmax(dim=1),
    "end_softmax_by_hand": lambda x: x.exp() / x.exp().sum(1, keepdim=True),
    "end_log_softmax": lambda x: F.log_softmax(x, dim=1),
    "end_log_softmax_torch": lambda x: torch.log_softmax(x, -1),
    "end_log_softmax_module": nn.LogSoftmax(dim=-1),
    "end_log_softmax_by_hand": lambda x: x - x.logsumexp(1, keepdim=True),
    "end_log_of_softmax": lambda x: torch.softmax(x, 1).log(),
    "end_sigmoid": lambda x: torch.sigmoid(x).squeeze(),
    "end_dropout": lambda x: F.dropout(x, 0.5, training=False),
    "end_dropout_module": nn.Dropout(0.5),
    "end_identity": nn.Identity(),
}

INTERFACES: dict[str, Callable[[], nn.Module]] = {
    "keyword_only": KeywordOnly,
    "optional_input": OptionalInput,
    "output_tuple": TupleOutput,
    "output_list": ListOutput,
    "output_dict": DictOutput,
    "output_named_tuple": NamedOutput,
    "output_nested": NestedOutput,
    "output_twice": SameOutputTwice,
    "cast_inside": CastInside,
}


def in_type(architecture: Architecture, dtype: torch.dtype) -> Architecture:
    """The same with weights and inputs of another type."""
    return Architecture(
        lambda: architecture.make().to(dtype),
        lambda generator: tuple(x.to(dtype) for x in architecture.inputs(generator)),
        architecture.free,
        architecture.size,
    )


SHAPE = (2, 3, 6, 6)
AXES, FREE = " ".join(PICTURE), "batch height width"

SPELLINGS: dict[str, Architecture] = (
    {name: pictures(build, 6, 6) for name, build in INTERFACES.items()}
    | {name: pictures(partial(Ended, end), 6, 6) for name, end in ENDS.items()}
    | {
        "shared_between_branches": other(SharedBetweenBranches, SHAPE, SHAPE, axes=[AXES, AXES], free=FREE),
        "two_inputs": other(TwoInputs, SHAPE, (2, 5), axes=[AXES, "batch features"], free=FREE),
        "float16": in_type(pictures(Scored, 6, 6), torch.float16),
        "bfloat16": in_type(pictures(Scored, 6, 6), torch.bfloat16),
    }
)
