"""Data sets from tables: rows without a label are left out, the rest is split and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from blockprop.data.dataset import Data, Dataset, split_rows
from blockprop.data.tables.cells import Cells
from blockprop.data.tables.deciding import Wishes
from blockprop.data.tables.encoder import NO_WISHES, TableEncoder, fit_columns
from blockprop.data.tables.files import Table
from blockprop.data.tables.target import TargetColumn, target_of
from blockprop.errors import DataError, SettingError, suggestion

if TYPE_CHECKING:
    import pandas as pd


def table_data(
    table: Table,
    source: str,
    *,
    target: str | None = None,
    encoder: TableEncoder | None = None,
    need_labels: bool = True,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = 0.0,
    seed: int = 0,
    wishes: Wishes = NO_WISHES,
) -> Data:
    """Data sets from a table: rows without a label are left out, the others split; the encoder is learned from the
    training rows, if none is given.
    """
    if encoder is not None and wishes:
        raise SettingError("the network settles what the columns are: drop, text, number, decimal are for training")
    wishes.require(list(table.frame.columns), source)
    name = _target(table.frame, source, target, encoder, need_labels, wishes)
    if need_labels and encoder is None and table.frame.shape[1] == 1:
        raise DataError(
            f"{source}: expected columns beside the target {name!r}, there are none; columns end with , ; | or a tab"
        )
    columns = [] if encoder else [Cells.of(column) for _, column in table.frame.items()]
    decimal = wishes.mark(columns, source, table.delimiter)
    told = None if name is None else _told(table.frame[name], encoder, classes, task, wishes, decimal, source)
    frame, y, notes = _labeled(table.frame, told, need_labels, source)
    parts = _parts(frame, y if told and told.classes is not None else None, test_fraction, seed, source)
    settled = encoder or TableEncoder(
        fit_columns(frame.iloc[parts[0]], name, wishes, decimal, source), with_names=table.with_names
    )
    if settled.target is None and told is not None:
        settled = replace(settled, target=told.name, classes=told.classes, target_format=told.format)
    encoded, told_of = _encoded(settled, frame, parts, encoder is not None, source)
    sets = [
        Dataset(
            x,
            None if y is None else y[torch.from_numpy(part)],
            settled.classes,
            source,
            settled.features,
            torch.tensor(frame.index[part].to_numpy(dtype=np.int64)),
        )
        for x, part in zip(encoded, parts, strict=True)
    ]
    marks = [note for cells in columns for note in cells.notes]
    said = tuple(dict.fromkeys([*table.notes, *marks, *notes, *told_of]))
    return Data(sets[0], sets[1] if len(sets) > 1 else None, settled, notes=said)


def _encoded(
    encoder: TableEncoder, frame: pd.DataFrame, parts: list[np.ndarray], settled: bool, source: str
) -> tuple[list[Tensor], list[str]]:
    """(the parts as vectors, notes); what was odd in the part that a new encoder was learned from, it says itself."""
    if settled:
        rows = encoder.rows(frame, source)
        return [rows.x[torch.from_numpy(part)] for part in parts], rows.notes
    encoded = [encoder.rows(frame.iloc[part], source) for part in parts]
    return [rows.x for rows in encoded], encoder.notes + (encoded[1].notes if len(parts) > 1 else [])


def _target(
    frame: pd.DataFrame,
    source: str,
    target: str | None,
    encoder: TableEncoder | None,
    need_labels: bool,
    wishes: Wishes,
) -> str | None:
    name = target or (encoder.target if encoder else None)
    if name is None and need_labels:
        name = str([column for column in frame.columns if column not in wishes.drop or column == target][-1])
    if name is not None and name not in frame.columns:
        if need_labels or target:
            raise DataError(f"{source}: there is no column {name!r} to predict{suggestion(name, frame.columns)}")
        name = None
    if name in wishes.drop:
        raise SettingError(f"the column {name!r} is to be predicted, so it cannot be left out; choose another target=…")
    return name


def _told(
    column: pd.Series,
    encoder: TableEncoder | None,
    classes: Sequence[str] | None,
    task: str | None,
    wishes: Wishes,
    decimal: str | None,
    source: str,
) -> TargetColumn:
    """What the column to be predicted is: as the encoder has it, or as its cells say."""
    name = str(column.name)
    if encoder is not None and name == encoder.target:
        return TargetColumn(name, encoder.classes, encoder.target_format)
    if encoder is not None and encoder.target is not None:
        classes, task = encoder.classes, "regress" if encoder.classes is None else "classify"
    elif name in wishes.text:
        task = task or "classify"
    elif name in wishes.number:
        task = task or "regress"
    return target_of(Cells.of(column), classes, task, decimal, source)


def _labeled(
    frame: pd.DataFrame, told: TargetColumn | None, need_labels: bool, source: str
) -> tuple[pd.DataFrame, Tensor | None, list[str]]:
    """(the rows that have a label, their labels, notes); all rows without labels if none are needed and some lack."""
    if told is None:
        return frame, None, []
    try:
        y, labeled, notes = told.read(Cells.of(frame[told.name]), source)
    except DataError:
        if need_labels:
            raise
        return frame, None, []
    if not need_labels and not labeled.all():
        return frame, None, []
    if not labeled.any():
        raise DataError(f"{source}: column {told.name!r}: there is no label in any row")
    return frame[labeled], y, notes


def _parts(
    frame: pd.DataFrame, classes: Tensor | None, test_fraction: float, seed: int, source: str
) -> list[np.ndarray]:
    """The places of all rows, or of those to train on and of those to test on."""
    if not test_fraction:
        return [np.arange(len(frame))]
    return [part.numpy() for part in split_rows(len(frame), classes, test_fraction, seed, source, "test_fraction")]
