"""Text files as rows of cells: which letters, which delimiter, and in which line of the file each row begins."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from blockprop.data.tables.cells import MISSING, NO_NUMBER, plain
from blockprop.data.tables.written import written
from blockprop.errors import DataError

DELIMITERS = "\t;|,"
"""Those that come first win where several would do."""
EXCELS_OWN = re.compile(r'"?sep=(.)"?,*\s*', re.IGNORECASE)
"""The first line that Excel writes, and reads, to say which delimiter follows."""
SAMPLE = 50
"""Rows by which the delimiter is chosen."""
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MOST_BYTES = 2**28
"""Of a table of text; its cells take several times as much memory."""
MOST_COLUMNS = 5_000
"""Each takes a millisecond or two to decide what it means."""
NOTHING = MISSING | NO_NUMBER
CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")

Row = tuple[int, list[str]]
"""(the line of the file in which it begins, counted from 1; its cells)."""


@dataclass(frozen=True)
class TextRows:
    """The rows of a text file, comments and empty lines left out.

    lines: of the file, with their ends. start: how many are Excel's own, or a title. notes: what was guessed.
    """

    path: Path
    lines: tuple[str, ...]
    delimiter: str
    start: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, names: Sequence[str] = ()) -> "TextRows":
        """The rows of a file. names: those that its columns should have; they help to find the delimiter.

        Raises DataError for a file that is not text.
        """
        text, notes = decoded(path)
        lines = tuple(io.StringIO(text.rstrip(" \r\n\x1a"), newline=""))
        require_few_columns(path, lines)
        own = EXCELS_OWN.fullmatch(lines[0]) if lines else None
        if own:
            return cls(path, lines, own[1], 1, notes)._below_title()
        tried = [cls(path, lines, delimiter, 0, notes)._below_title() for delimiter in DELIMITERS]
        if path.suffix.lower() == ".tsv":
            return tried[0]
        return max(tried, key=lambda rows: rows._fits(names))

    def _fits(self, names: Sequence[str]) -> tuple[int, bool, float, float]:
        """How well the delimiter explains the first rows: known names, several cells, as many in all rows, numbers."""
        first = [cells for _, cells in self._first()]
        if not first:
            return 0, False, 0.0, 0.0
        width = len(first[0])
        alike = sum(len(cells) == width for cells in first) / len(first)
        cells = [cell.strip() for row in first[1:] or first for cell in row]
        numbers = sum(written(cell) is not None for cell in cells) / max(len(cells), 1)
        return len({cell.strip() for cell in first[0]} & set(names)), width > 1, alike, numbers

    def _first(self) -> list[Row]:
        """The first rows, up to one that cannot be read."""
        first: list[Row] = []
        with suppress(DataError):
            first.extend(islice(self, SAMPLE))
        return first

    def _below_title(self) -> "TextRows":
        """The rows from the names on, where nothing but a title stands above them; a note says so."""
        first = [(line, [cell.strip() for cell in cells]) for line, cells in self._first()]
        width = max((len(cells) for _, cells in first), default=0)
        above = next((i for i, (_, cells) in enumerate(first) if sum(map(bool, cells)) >= max(2, width - 1)), 0)
        if not above or not _names_above_numbers([cells for _, cells in first[above:]]):
            return self
        title, (line, _) = self.lines[first[0][0] - 1].strip(f' "\r\n{self.delimiter}'), first[above]
        note = f"{self.path}: {title!r} in row {first[0][0]} is taken for a title; the names are read in row {line}"
        return replace(self, start=line - 1, notes=(*self.notes, note))

    def __iter__(self) -> Iterator[Row]:
        """Each row. Raises DataError for a quotation mark that is not closed, with the row."""
        return self.rows([])

    def rows(self, comments: list[int]) -> Iterator[Row]:
        """Each row, while the lines of comments are collected."""
        reader = self._reader(self.lines[self.start :])
        width = 0
        while True:
            line = self.start + reader.line_num
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{self.path}: row {line + 1} cannot be read ({error}); is a quotation mark not closed?"
                ) from None
            if cells is None:
                return
            if _is_comment(self.lines[line], len(cells), width):
                comments.append(line + 1)
            elif width == 1 or len(cells) > 1 or any(cell.strip() for cell in cells):
                width = width or len(cells)
                yield line + 1, cells or [""]

    def _reader(self, lines: Sequence[str]) -> Any:
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True, strict=True)

    def names_in_comment(self, line: int, width: int) -> list[str]:
        """The cells of a comment, if they are so many: some programs write the columns' names there."""
        cells: list[str] = next(self._reader([self.lines[line - 1].lstrip("# ")]), [])
        return [str(plain(cell)) for cell in cells] if len(cells) == width > 1 else []


def _names_above_numbers(rows: list[list[str]]) -> bool:
    """Whether the first row is of words alone, and below it stand as many cells in each row, in some column numbers."""
    names, *others = rows
    if not others or any(cell in NOTHING or written(cell) for cell in names) or {*map(len, others)} != {len(names)}:
        return False
    columns = [[cell for cell in column if cell] for column in zip(*others, strict=True)]
    return any(column and all(map(written, column)) for column in columns)


def _is_comment(line: str, width: int, expected: int) -> bool:
    """Whether a line begins with "#" and is none of the table's rows: "# made in May", but not "#ff0000,red"."""
    if not line.startswith("#"):
        return False
    return not expected or width != expected or line.startswith("# ")


def require_few_columns(path: Path, lines: Sequence[str]) -> None:
    """DataError for a line that may have too many cells, before it is taken apart."""
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_COLUMNS and (most := max(map(line.count, DELIMITERS))) >= MOST_COLUMNS:
            raise too_many_columns(f"{path}, row {number}", most + 1)


def too_many_columns(where: str, count: int) -> DataError:
    """What is said of a table with so many columns."""
    return DataError(f"{where}: {count:,} columns; a table has at most {MOST_COLUMNS:,}, an .npz file takes any number")


def decoded(path: Path) -> tuple[str, tuple[str, ...]]:
    """(the file's text, notes): UTF-8, UTF-16, or what Windows wrote in western Europe.

    Raises DataError for a file that is not text.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise DataError(f"{path}: {size:,} bytes of text; {MOST_BYTES:,} are read, and .parquet or .npz take more")
    content = path.read_bytes()
    mark = next((name for start, name in MARKS.items() if content.startswith(start)), None)
    text, notes = None, tuple[str, ...]()
    for encoding in [mark] if mark else _likely(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding in ("cp1252", "latin-1"):
            notes = (f"{path}: not UTF-8, so it is read as Windows-1252 (Latin-1); look whether its letters are right",)
        break
    if text is None or CONTROL.search(text):
        raise DataError(f"{path}: expected a table of text, this is something else ({content[:8]!r} …)")
    return unicodedata.normalize("NFC", text), notes


def _likely(content: bytes) -> list[str]:
    """Encodings to be tried in turn; UTF-16 without its mark has a zero in every other byte of western text."""
    zeros = [content[start:2000:2].count(0) for start in (0, 1)]
    if max(zeros) > 0.4 * min(len(content), 2000) / 2 and min(zeros) == 0:
        return ["utf-16-be" if zeros[0] else "utf-16-le"]
    return ["utf-8", "cp1252", "latin-1"]
