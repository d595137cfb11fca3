"""Dataset: examples and their labels as two tensors, with the names that belong to them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from blockprop.engine.briefly import brief_repr
from blockprop.errors import DataError, SettingError, shape

if TYPE_CHECKING:
    from blockprop.data.tables.encoder import TableEncoder


@dataclass(frozen=True, eq=False)
class Dataset:
    """n examples `x` and what is to be said about them, `y`.

    x: float, (n, …); pictures are (n, c, h, w) in 0…1 with c = 1 (gray) or 3 (RGB).
    y: int64 class numbers (n,); or float targets (n,) or (n, k) in their own units; or None if unknown.
    classes: the classes' names by number; None for regression.
    features: the names of x's columns, if it comes from a table.
    rows: what people call the examples, if it comes from a table: the line of the file, int64 (n,).
    Raises DataError if x and y differ in length or a class number has no name.
    """

    x: Tensor
    y: Tensor | None = None
    classes: tuple[str, ...] | None = None
    name: str = "data"
    features: tuple[str, ...] | None = None
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        if self.y is None:
            return
        if len(self.x) != len(self.y):
            raise DataError(f"{self.name}: {len(self.x)} examples but {len(self.y)} labels; each needs one")
        if self.classes is None or not len(self.y):
            return
        low, high = int(self.y.min()), int(self.y.max())
        if low < 0 or high >= len(self.classes):
            wrong = low if low < 0 else high
            row = int((self.y == wrong).nonzero()[0])
            raise DataError(f"{self.name}: label {wrong} in row {row + 1}; expected 0 to {len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: int | slice | Sequence[int] | Tensor) -> "Dataset":
        """The examples at these indices, as a Dataset."""
        if isinstance(indices, int):
            indices = [indices]
        elif isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        rows = torch.as_tensor(list(indices) if isinstance(indices, range) else indices)
        rows = rows if rows.numel() else rows.long()
        y, lines = (None if part is None else part[rows] for part in (self.y, self.rows))
        return replace(self, x=self.x[rows], y=y, rows=lines)

    @property
    def shape(self) -> tuple[int, ...]:
        """One example's shape."""
        return tuple(self.x.shape[1:])

    @property
    def output_count(self) -> int:
        """How many outputs a network for this data has: one per class, or one per target."""
        if self.classes is not None:
            return len(self.classes)
        if self.y is None:
            raise DataError(f"{self.name} has no labels, so it does not say how many outputs a network needs")
        return 1 if self.y.dim() == 1 else self.y.shape[1]

    def split(self, fraction: float, seed: int = 0, setting: str = "") -> tuple["Dataset", "Dataset"]:
        """Two parts, the second with about `fraction` (0…1) of each class; the same for the same seed.

        setting: the argument that the fraction comes from, which errors name, and which may be 0.
        Raises SettingError for a fraction outside 0…1, DataError if a part would be empty.
        """
        rest, part = split_rows(
            len(self), self.y if self.classes is not None else None, fraction, seed, self.name, setting
        )
        return self[rest], self[part]

    def __repr__(self) -> str:
        what = (
            "no labels" if self.y is None else f"{self.output_count} {'targets' if self.classes is None else 'classes'}"
        )
        return (
            f"Dataset({self.name}: {len(self)} examples of {shape(self.x[:1][0]) if len(self) else self.shape}, {what})"
        )


@dataclass(frozen=True, eq=False)
class Data:
    """What `read_data` found: a training part, a test part if there is one, and the encoder of a table.

    notes: what was guessed, left out or odd in the source, a sentence each, with the row or the file.
    train, test = data    the two parts; test is None if there is none
    validation: a part of its own to validate on, if the source has one beside its test part
    """

    train: Dataset
    test: Dataset | None = None
    encoder: "TableEncoder | None" = None
    notes: tuple[str, ...] = ()
    validation: Dataset | None = None

    def __repr__(self) -> str:
        return brief_repr(self)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.train, self.test))


def split_rows(
    n: int, labels: Tensor | None, fraction: float, seed: int, name: str, setting: str = ""
) -> tuple[Tensor, Tensor]:
    """Row numbers of two parts in ascending order, the second with round(n · fraction) rows, stratified by label.

    setting: see `Dataset.split`.
    """
    if not 0 < fraction < 1:
        came = f"{setting}={fraction}" if setting else str(fraction)
        raise SettingError(f"expected a fraction between 0 and 1 to split off, got {came}")
    generator = torch.Generator().manual_seed(seed)
    groups = [torch.arange(n)] if labels is None else [(labels == c).nonzero()[:, 0] for c in labels.unique()]
    chosen = []
    for group, count in zip(groups, _shares([len(group) for group in groups], fraction), strict=True):
        chosen.append(group[torch.randperm(len(group), generator=generator)[:count]])
    part = torch.zeros(n, dtype=torch.bool)
    part[torch.cat(chosen) if chosen else []] = True
    if part.all() or not part.any():
        keeps = f", as each of the {len(groups)} classes keeps one" if len(groups) > 1 and round(n * fraction) else ""
        few = f"{name}: {n} examples are too few to split off {fraction:g} of them{keeps}"
        raise DataError(few + (f"; {setting}=0 splits off none" if setting else ""))
    return (~part).nonzero()[:, 0], part.nonzero()[:, 0]


def _shares(sizes: list[int], fraction: float) -> list[int]:
    """round(total · fraction) shared out in proportion, the largest remainders first; every group keeps one."""
    exact = [size * fraction for size in sizes]
    shares = [int(share) for share in exact]
    most_left_first = sorted(range(len(sizes)), key=lambda i: shares[i] - exact[i])
    for i in most_left_first[: max(round(sum(exact)) - sum(shares), 0)]:
        shares[i] += 1
    return [min(share, size - 1) for share, size in zip(shares, sizes, strict=True)]
