"""Files of tables: .csv, .tsv and .parquet, read as cells that mean nothing yet.

Rows are counted as an editor shows them: the number of a row is the line of the file in which it begins, so that the
names stand in row 1 and the first example in row 2. Files without lines (parquet) count their examples from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from blockprop.data.tables.cells import plain, rows_named
from blockprop.data.tables.encoder import TableEncoder
from blockprop.data.tables.names import first_row_is_names, same_rows
from blockprop.data.tables.text import MOST_COLUMNS, Row, TextRows, too_many_columns
from blockprop.data.tables.written import written
from blockprop.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


USABLE = ("integer", "floating", "decimal", "boolean", "string", "large_string", "date", "timestamp", "null")
"""Of pyarrow's types, those that a column may have."""
FEW_CELLS, CELLS_A_BYTE = 2_000_000, 4
"""So many cells are read from any parquet file, and of more so many for each byte."""
CHUNK = 10_000
"""Rows that are turned into columns at once."""
MISCOUNTED = "are there decimal commas in it?", "is the first a title? remove it"
"""What may be wrong where rows have more cells than the first, and where that has one alone."""
UNNAMED = re.compile(r"(Unnamed: [0-9]+)?")
"""What pandas calls the row numbers that it writes in front, or reads again."""


@dataclass(frozen=True, eq=False)
class Table:
    """A file's cells. frame: text, or what a typed file holds; its index numbers the rows as people count them.

    with_names: whether the file names its columns. delimiter: of a text file. notes: what was guessed or left out.
    """

    frame: pd.DataFrame
    with_names: bool = True
    delimiter: str = ""
    notes: tuple[str, ...] = ()


def read_table(path: Path, *, header: bool | None = None, encoder: TableEncoder | None = None) -> Table:
    """A .csv, .tsv or .parquet file.

    header: whether the first row holds the columns' names; by default what stands there decides, or the encoder knows.
    Raises DataError naming the file, and the row where it is broken.
    """
    if path.suffix.lower() == ".parquet":
        table = _read_parquet(path)
    else:
        table = _read_text(TextRows.of(path, encoder.names if encoder and encoder.with_names else ()), header, encoder)
    table = _without_row_numbers(table, path)
    twice = table.frame.columns[table.frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{path}: two columns are named {twice[0]!r}; rename one")
    if table.frame.empty:
        raise DataError(f"{path}: expected at least one row and one column")
    return table


def _read_parquet(path: Path) -> Table:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet

    try:
        about = pa.parquet.read_metadata(path)
        if about.num_columns > MOST_COLUMNS:
            raise too_many_columns("its schema", about.num_columns)
        _require_few_cells(about.num_rows * about.num_columns, path.stat().st_size)
        table = pa.parquet.read_table(path)
        table.validate(full=True)
        frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    except Exception as error:  # a damaged file can fail in many ways, with one meaning
        raise DataError(f"{path}: expected a complete parquet file ({str(error).splitlines()[0]})") from None
    for field in table.schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not any(getattr(pa.types, f"is_{usable}")(kind) for usable in USABLE):
            raise DataError(f"{path}: the column {field.name!r} holds {kind}; expected numbers, dates or text")
    frame = frame.drop(columns=[name for name in frame.columns if re.fullmatch(r"__index_level_\d+__", name)])
    frame.columns = pd.Index([str(plain(name)) for name in frame.columns], dtype=object)
    return Table(frame.set_axis(range(1, len(frame) + 1)))


def _require_few_cells(cells: int, size: int) -> None:
    """DataError for a file that would unfold to far more than it is."""
    if cells > FEW_CELLS and cells > size * CELLS_A_BYTE:
        raise DataError(f"it would unfold to {cells:,} cells, more than {CELLS_A_BYTE} for each of its {size:,} bytes")


def _read_text(rows: TextRows, header: bool | None, encoder: TableEncoder | None) -> Table:
    import pandas as pd

    comments: list[int] = []
    read = rows.rows(comments)
    first, second = next(read, None), next(read, None)
    if first is None:
        raise DataError(f"{rows.path}: expected at least one row, there are none but empty ones and comments")
    line, names = first[0], [str(plain(cell)) for cell in first[1]]
    width = len(second[1]) if second and len(second[1]) == len(names) + 1 else len(names)
    body = _frame(rows.path, chain([second] if second else [], read), width, len(names))
    body, names, trailing = _of_width(body, names, rows.path)
    before = [number for number in comments if number < line]
    commented = rows.names_in_comment(before[-1], len(names)) if before and header is None else []
    with_names, notes = _has_names(names, commented, body, rows.path, header, encoder)
    notes += trailing
    if with_names:
        again = same_rows(names, body)
        if again.any():
            notes.append(f"{rows.path}: the names stand again in {rows_named(body.index[again])}: left out")
        body = body[~again]
    else:
        body = pd.concat([pd.DataFrame([names], [line], body.columns, dtype=body.dtypes.iloc[0]), body])
        names = commented or _numbered(len(names), rows.path, encoder)
        if commented:
            notes.append(f"{rows.path}: the names are read in row {before[-1]}, after the #")
            comments.remove(before[-1])
    if comments:
        notes.append(f"{rows.path}: {rows_named(comments)}: taken for comments, because of the #")
    return Table(body.set_axis(names, axis=1), with_names or bool(commented), rows.delimiter, (*rows.notes, *notes))


def _has_names(
    first: list[str],
    commented: list[str],
    body: pd.DataFrame,
    path: Path,
    header: bool | None,
    encoder: TableEncoder | None,
) -> tuple[bool, list[str]]:
    """(whether the first row holds the names, notes)."""
    if header is not None:
        return header, []
    if encoder is None:
        with_names, note = first_row_is_names(first, body, path)
        return with_names, [note] if note and not commented else []
    if not encoder.with_names:
        return first == list(encoder.names), []
    if not set(encoder.names) & {*first, *commented}:
        raise DataError(
            f"{path}: expected the names of the columns in row 1 ({_some(encoder.names)}), came {_some(first)}"
        )
    return bool(set(encoder.names) & set(first)), []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + ", …" * (len(names) > 6)


def _numbered(count: int, path: Path, encoder: TableEncoder | None) -> list[str]:
    """What the columns of a file without names are called: as in training, with the column to predict or without."""
    names = [f"column {i + 1}" for i in range(count)]
    if encoder is None:
        return names
    if encoder.with_names:
        raise DataError(f"{path}: expected the names of the columns in row 1, as in training: {_some(encoder.names)}")
    names = sorted(encoder.names, key=lambda name: int(name.removeprefix("column ")))
    features = [name for name in names if name != encoder.target]
    if count not in (len(names), len(features)):
        raise DataError(f"{path}: expected {len(features)} columns, as in training, or {len(names)} with the target")
    return names if count == len(names) else features


def _frame(path: Path, rows: Iterator[Row], width: int, names: int) -> pd.DataFrame:
    """The rows as columns of text, in numbers. Raises DataError for a row with more or fewer cells."""
    import pyarrow as pa

    schema = pa.schema([(str(i), pa.string()) for i in range(width)])
    chunks, lines = [], []
    while chunk := list(islice(rows, CHUNK)):
        for line, cells in chunk:
            if len(cells) != width:
                more = f"; {MISCOUNTED[names == 1]}" if len(cells) > width else ""
                raise DataError(
                    f"{path}: expected {names} cells in row {line}, as in the first, got {len(cells)}{more}"
                )
        lines += [line for line, _ in chunk]
        columns = zip(*(cells for _, cells in chunk), strict=True)
        chunks.append(pa.record_batch([pa.array(column, pa.string()) for column in columns], schema=schema))
    return pa.Table.from_batches(chunks, schema).to_pandas().set_axis(lines).set_axis(range(width), axis=1)


def _of_width(body: pd.DataFrame, names: list[str], path: Path) -> tuple[pd.DataFrame, list[str], list[str]]:
    """(cells, names, notes) where rows have one cell more than there are names: an empty last one, or its name."""
    if body.shape[1] == len(names):
        return body, names, []
    if (body.iloc[:, -1].str.strip() == "").all():
        return body.iloc[:, :-1], names, [f"{path}: each row ends with an empty cell that has no name: left out"]
    cells = [str(plain(cell)) for cell in body.iloc[:, 0]]
    if cells == [str(i + 1) for i in range(len(cells))] or (
        len(set(cells)) == len(cells) and not any(written(cell) for cell in cells)
    ):
        return body, ["", *names], []
    raise DataError(
        f"{path}: expected {len(names)} cells in row {body.index[0]}, as in the first, got {body.shape[1]}; "
        f"{MISCOUNTED[len(names) == 1]}"
    )


def _without_row_numbers(table: Table, path: Path) -> Table:
    """The table without columns that have no name: the first, which numbers the rows, and empty ones."""
    unnamed = [i for i, name in enumerate(table.frame.columns) if UNNAMED.fullmatch(name)]
    notes = []
    for i in unnamed:
        cells = table.frame.iloc[:, i]
        nothing = all(plain(cell) == "" for cell in cells.unique())
        if i and not nothing:
            raise DataError(f"{path}: column {i + 1} has no name; name it in the first row, or remove it")
        notes.append(f"{path}: column {i + 1} has no name{' and nothing in it' * nothing}: left out")
    kept = [i for i in range(table.frame.shape[1]) if i not in unnamed]
    return replace(table, frame=table.frame.iloc[:, kept], notes=(*table.notes, *notes))
