"""The log of a training run: a .csv file with a line for each epoch."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from blockprop.saving.files import Dispensable, write_file
from blockprop.training.run import Record

HEADS = ("epoch", "steps", "seconds", "rate", "training_loss", "validation_loss", "validation_accuracy")


def logged(records: Iterable[Record], path: Path | None, resume: bool = False) -> Iterator[Record]:
    """The records, while the file gets a line at the end of each epoch.

    training_loss: that of the whole epoch, see Record. rate: of its last step.
    resume: the lines of epochs that lie before the first record stay.
    """
    lines: list[list[str]] | None = None
    log = Dispensable("training goes on, and tries again at the end of the next epoch")
    for record in records:
        if path is not None:
            if lines is None:
                lines = _lines_before(path, record.epoch) if resume else []
            if record.ends_epoch:
                with log.written():
                    _write(path, lines, record)
        yield record


def _write(path: Path, lines: list[list[str]], last: Record) -> None:
    validation = (last.validation_value, last.validation_accuracy)
    numbers = (last.seconds, last.rate, last.training_value, *validation)
    lines.append([str(last.epoch), str(last.step), *("" if number is None else f"{number:.6g}" for number in numbers)])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADS, *lines])
    write_file(path, text.getvalue())


def _lines_before(path: Path, epoch: int) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if len(line) == len(HEADS)]
    return [line for line in lines if line[0].isdecimal() and int(line[0]) < epoch]
