"""The log of a training run: a .csv file with a line for each epoch."""

import csv
import io
from pathlib import Path

from blockprop.saving.files import Dispensable, write_file
from blockprop.training.run import Record

HEADS = ("epoch", "steps", "seconds", "rate", "training_loss", "validation_loss", "validation_accuracy")


class EpochLog:
    """Takes the records of a run; the file gets a line at the end of each epoch.

    training_loss: that of the whole epoch, see Record. rate: of its last step.
    resume: the lines of epochs that lie before the first record stay.
    """

    def __init__(self, path: Path, resume: bool = False):
        self.path, self.resume = path, resume
        self._lines: list[list[str]] | None = None
        self._file = Dispensable("training goes on, and tries again at the end of the next epoch")

    def __call__(self, record: Record) -> None:
        if self._lines is None:
            self._lines = _lines_before(self.path, record.epoch) if self.resume else []
        if record.ends_epoch:
            self._lines.append(_line(record))
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([HEADS, *self._lines])
            with self._file.written():
                write_file(self.path, text.getvalue())


def _line(last: Record) -> list[str]:
    validation = (last.validation_value, last.validation_accuracy)
    numbers = (last.seconds, last.rate, last.training_value, *validation)
    return [str(last.epoch), str(last.step), *("" if number is None else f"{number:.6g}" for number in numbers)]


def _lines_before(path: Path, epoch: int) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if len(line) == len(HEADS)]
    return [line for line in lines if line[0].isdecimal() and int(line[0]) < epoch]
