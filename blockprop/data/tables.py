"""Tables: reading .csv, .tsv and .parquet files, and making data sets of them."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch

from blockprop.data.dataset import Data, Dataset, split_rows
from blockprop.data.encoding import TableEncoder, target_labels
from blockprop.errors import DataError, suggestion

USABLE = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_null,
)


def read_table(path: Path) -> pd.DataFrame:
    """A .csv, .tsv or .parquet file; its index numbers the rows as people count them in the file.

    Raises DataError naming the file, and the row where it is broken.
    """
    frame = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    if frame.empty:
        raise DataError(f"{path}: expected at least one row and one column")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pa.parquet.read_table(path)
        frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    except Exception as error:  # a damaged file can fail in many ways, with one meaning
        raise DataError(f"{path}: expected a complete parquet file ({str(error).splitlines()[0]})") from None
    frame = frame.drop(columns=[name for name in frame.columns if re.fullmatch(r"__index_level_\d+__", name)])
    return _checked(frame, table.schema, path).set_axis(range(1, len(frame) + 1))


def _read_csv(path: Path) -> pd.DataFrame:
    # One block for the whole file: the type of a column is decided from the first block only.
    reading = pa.csv.ReadOptions(use_threads=False, block_size=min(path.stat().st_size + 1, 2**31 - 1))
    parsing = pa.csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True, ignore_empty_lines=False)
    try:
        table = pa.csv.read_csv(path, reading, parsing, pa.csv.ConvertOptions(strings_can_be_null=True))
        names = table.column_names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if ragged:
            row, wanted, came = ragged.groups()
            raise DataError(f"{path}: expected {wanted} cells in row {row}, as in row 1, got {came}") from None
        raise DataError(f"{path}: expected a table of text ({str(error).splitlines()[0]})") from None
    _check_header(names, path)
    return _without_blank_rows(table, path)


def _without_blank_rows(table: pa.Table, path: Path) -> pd.DataFrame:
    """The rows with anything in them, numbered as in the file, where row 1 holds the names."""
    valid = [column.is_valid().to_numpy() for column in table.columns]
    filled = np.logical_or.reduce(valid) if table.num_columns > 1 else np.ones(len(table), bool)
    frame = table.filter(pa.array(filled)).to_pandas(date_as_object=False)
    return _checked(frame, table.schema, path).set_axis(np.flatnonzero(filled) + 2)


def _delimiter(path: Path) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    with path.open("rb") as file:
        head = file.readline(100_000)
    return max(",;\t", key=lambda character: head.count(character.encode()))


def _check_header(names: list[str], path: Path) -> None:
    if all(re.fullmatch(r"[-+.\deE]+", name) for name in names) and names != [str(i) for i in range(len(names))]:
        raise DataError(f"{path}: expected the columns' names in row 1, but it holds only numbers; add a row of names")


def _checked(frame: pd.DataFrame, schema: pa.Schema, path: Path) -> pd.DataFrame:
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one")
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if field.name in frame and not any(suits(kind) for suits in USABLE):
            raise DataError(f"{path}: the column {field.name!r} holds {kind}; expected numbers, dates or UTF-8 text")
    return frame.drop(columns="") if "" in frame and _counts_rows(frame[""]) else frame


def _counts_rows(column: pd.Series) -> bool:
    """Whether a column without a name is the row number that pandas writes in front."""
    values = column.tolist()
    return values in (list(range(len(values))), list(range(1, len(values) + 1)))


def table_data(
    frame: pd.DataFrame,
    source: str,
    *,
    target: str | None = None,
    encoder: TableEncoder | None = None,
    need_labels: bool = True,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Data:
    """Data sets from a table: split first, then the encoder is learned from the training rows (if none is given)."""
    target = _target(frame, source, target, encoder, need_labels)
    y, names = None, classes
    if target is not None:
        settled = encoder.classes if encoder else classes
        y, names = target_labels(
            frame[target], source, settled, task or ("regress" if encoder and settled is None else None)
        )
    rows = [torch.arange(len(frame))]
    if test_fraction:
        rows = list(split_rows(len(frame), y if names is not None else None, test_fraction, seed, source))
    if encoder is None:
        encoder = TableEncoder.fit(frame.iloc[rows[0].numpy()], target, names, source)
    x = encoder.encode(frame, source)
    whole = Dataset(x, y, encoder.classes, source, encoder.features)
    return Data(whole[rows[0]], whole[rows[1]] if test_fraction else None, encoder)


def _target(
    frame: pd.DataFrame, source: str, target: str | None, encoder: TableEncoder | None, need_labels: bool
) -> str | None:
    name = target or (encoder.target if encoder else None)
    if name is None and need_labels:
        name = str(frame.columns[-1])
    if name is not None and name not in frame.columns:
        if need_labels or target:
            raise DataError(f"{source}: there is no column {name!r} to predict{suggestion(name, frame.columns)}")
        name = None
    if name is not None and not need_labels and frame[name].isna().any():
        name = None  # rows still to be predicted
    return name
