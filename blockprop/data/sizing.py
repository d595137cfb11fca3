"""Pictures that are kept small, as bytes or in another size: each becomes what is computed with when it is taken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from blockprop.data.dataset import Data, Dataset
from blockprop.errors import DataError
from blockprop.pictures.colors import luminance
from blockprop.pictures.scaling import scaled

BATCH = 256
"""Pictures that are scaled at a time; so few are scaled at once."""
aten = torch.ops.aten
TAKE = (aten.slice.Tensor, aten.select.int, aten.index_select.default)
"""What takes rows, to compute with them."""


class BroughtToSize(Tensor):
    """Pictures (n, c, h, w) that are brought to their size when they are taken: `x[a:b]`, `x.index_select(0, rows)`.

    stored: they themselves, or as bytes, which become 0…1.   wanted: (c, h, w).
    `x[rows]` chooses some and leaves them as they are. Whatever else is computed from `x` takes all of them first.
    """

    stored: Tensor
    wanted: tuple[int, ...]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __new__(cls, stored: Tensor, wanted: tuple[int, ...]) -> "BroughtToSize":
        sizes = (len(stored), *wanted)
        dtype = torch.float32 if stored.dtype == torch.uint8 else stored.dtype
        self: BroughtToSize = Tensor._make_wrapper_subclass(cls, sizes, dtype=dtype, device=stored.device)
        self.stored, self.wanted = stored, wanted
        return self

    def taken(self) -> Tensor:
        """All of them, in their size."""
        if len(self.stored) <= BATCH:
            return _brought(self.stored, self.wanted).contiguous()
        x = torch.empty(len(self.stored), *self.wanted, dtype=self.dtype, device=self.device)
        for part, brought in zip(self.stored.split(BATCH), x.split(BATCH), strict=True):
            brought.copy_(_brought(part, self.wanted))
        return x

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """As of any tensor, but for what no computation starts from: a tensor that is not yet in its size."""
        return self.taken().to(*args, **kwargs)

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """As of any tensor, of all of them."""
        return self.taken().numpy(*args, **kwargs)

    def tolist(self) -> Any:
        """As of any tensor, of all of them."""
        return self.taken().tolist()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        function: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        x = args[0] if args and isinstance(args[0], cls) else None
        if x is not None and function is aten.detach.default:
            return cls(x.stored, x.wanted)
        if x is not None and function is aten.index.Tensor and len(args[1]) == 1:
            return brought(x.stored[args[1][0]], x.wanted)
        if x is not None and function in TAKE and (args[1] if len(args) > 1 else 0) == 0:
            if function is aten.select.int:
                row = args[2] % len(x.stored)
                return _brought(x.stored[row : row + 1], x.wanted)[0]
            return BroughtToSize(function(x.stored, *args[1:], **(kwargs or {})), x.wanted).taken()
        all_taken: Callable[[Any], Any] = lambda given: tree_map_only(cls, cls.taken, given)  # noqa: E731
        return function(*all_taken(args), **all_taken(dict(kwargs or {})))


def in_size(data: Data, size: tuple[int, int] | None, channels: int | None) -> Data:
    """The data with all pictures of this size, (h, w), and with so many channels; a note says so.

    More than BATCH pictures are brought to it when they are taken.
    """
    train, before = data.train, data.train.shape
    if len(before) != 3:
        return data
    wanted = (channels or before[0], *(size or before[1:]))
    if wanted == before and (data.test is None or data.test.shape == wanted):
        return data
    told = f"{train.name}: pictures of {_named(before)} were brought to {_named(wanted)}"
    test = None if data.test is None else _in_size(data.test, wanted)
    return replace(data, train=_in_size(train, wanted), test=test, notes=(*data.notes, told))


def _named(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} pixels, {'gray' if shape[0] == 1 else 'in color'}"


def _in_size(data: Dataset, wanted: tuple[int, ...]) -> Dataset:
    if data.shape[0] != wanted[0] and {data.shape[0], wanted[0]} != {1, 3}:
        raise DataError(f"{data.name}: expected pictures with {wanted[0]} channels, came {data.shape[0]}")
    return replace(data, x=brought(data.x, wanted))


def brought(x: Tensor, wanted: tuple[int, ...]) -> Tensor:
    """Pictures in this size, (c, h, w): few at once, many when they are taken, and as they are if they have it.

    Bytes become 0…1.
    """
    if tuple(x.shape[1:]) == wanted and x.is_floating_point():
        return x
    return BroughtToSize(x, wanted) if len(x) > BATCH else _brought(x, wanted)


def _brought(x: Tensor, wanted: tuple[int, ...]) -> Tensor:
    channels, height, width = wanted
    if not x.is_floating_point():
        x = x.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    if x.shape[1] != channels:
        x = luminance(x) if channels == 1 else x.expand(-1, 3, -1, -1)
    return scaled(x, height, width)
