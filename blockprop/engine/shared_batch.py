"""A batch that several processes share, each with some of its rows: what a block may need to know of it in training."""

from collections.abc import Callable, Sequence

from torch import Tensor

from blockprop.errors import ShapeError


class SharedBatch:
    """Training gives it to the blocks that have an attribute `batch`, and says before each pass which rows are here.

    gather: the same tensor of all processes, (processes, …), in their order; all have to ask, at the same place.
    first, rows, total: the first row that is here, how many are, and how many all have together.
    """

    def __init__(self, gather: Callable[[Tensor], Tensor]):
        self.gather = gather
        self.first, self.rows, self.total = 0, 0, 0

    def whole(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape that the whole batch has where the rows that are here have this one, each as often as another."""
        return self._times(shape) * self.total, *shape[1:]

    def own(self, numbers: Tensor, shape: Sequence[int]) -> Tensor:
        """Of numbers in the shape `whole(shape)` those of the rows that are here."""
        return numbers.narrow(0, self._times(shape) * self.first, shape[0])

    def _times(self, shape: Sequence[int]) -> int:
        times, rest = divmod(shape[0], self.rows) if self.rows else (1, 0)
        if rest:
            raise ShapeError(
                f"expected a batch that several processes share on the first axis, with a multiple of its {self.rows} "
                f"rows that are here; came {tuple(shape)}"
            )
        return times
