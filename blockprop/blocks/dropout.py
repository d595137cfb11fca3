"""Dropout: in training, some of the elements are left out."""

from typing import Any

import torch
from torch import Tensor

from blockprop.engine.block import Block
from blockprop.engine.shared_batch import SharedBatch
from blockprop.errors import SettingError, ShapeError


class Dropout(Block):
    """In training, elements set to 0 at random and the rest scaled up to keep the expectation:  y = x ∘ mask.

    d_x = d_y ∘ mask,     mask = 0 with the given probability, else 1 / (1 − probability)
    In evaluation y = x and d_x = d_y: the tensors themselves, not copies.

    x, y: any shape   channels: leave out whole channels of (n, channels, ...) rather than single elements
    Raises SettingError if the probability is outside 0…1, ShapeError where there are no channels to leave out.
    Source: Srivastava et al. 2014, section 10 for the scaling in training.
    """

    kind = "activation"
    gate = ""
    pools = True
    has_training_mode = True
    generator: torch.Generator | None = None
    """Draws the masks, on its own device; None stands for torch's global generator on the input's device."""
    batch: SharedBatch | None = None
    """The batch, if only some of its rows are here: the masks are those that one process draws for them all."""

    def __init__(self, probability: float = 0.5, channels: bool = False):
        if not 0 <= probability <= 1:
            raise SettingError(f"probability must be in 0…1, came {probability}")
        self.probability, self.channels = probability, channels

    def forward(self, x: Tensor, training: bool = False) -> tuple[Tensor, Any]:
        if not training or self.probability == 0:
            return x, None
        mask = self.mask(x) if self.batch is None else self._own_mask(x, self.batch)
        return x * mask, mask

    def propagate(self, saved: Any, d_y: Tensor) -> tuple[Tensor]:
        return (d_y if saved is None else d_y * saved,)

    def _own_mask(self, x: Tensor, batch: SharedBatch) -> Tensor:
        return batch.own(self.mask(x.new_empty(1).expand(batch.whole(x.shape))), x.shape)

    def mask(self, x: Tensor) -> Tensor:
        """Draw a new mask in the shape, type of number and place of x; it does not depend on x's memory layout.

        With channels, it has one number for each channel.
        """
        if self.channels:
            if x.dim() < 2:
                raise ShapeError(f"expected (n, channels, ...), came {tuple(x.shape)}")
            x = x[(slice(None), slice(None), *(slice(1),) * (x.dim() - 2))]
        if self.probability == 1:
            return torch.zeros_like(x)
        device = x.device if self.generator is None else self.generator.device
        # Two random numbers of 32 bits from each of 64: an eighth of the time of bernoulli_. An element is kept if its
        # number is below `bound`, as happens with the share 1 − probability (to 2⁻³²) of all numbers.
        count = x.numel()
        numbers = torch.empty((count + 1) // 2, dtype=torch.int64, device=device)
        numbers = numbers.random_(-(2**63), None, generator=self.generator).view(torch.int32)[:count]
        bound = min(round((1 - self.probability) * 2**32) - 2**31, 2**31 - 1)
        mask = torch.empty(count, dtype=x.dtype, device=device)
        torch.lt(numbers, bound, out=mask)
        return mask.mul_(1 / (1 - self.probability)).view(x.shape).to(x.device)
