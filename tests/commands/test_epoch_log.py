"""The log of a training run, and what `train` adds for pictures: augmentation, averages, one cycle."""

import csv
import json
from pathlib import Path

import pytest

from blockprop.cli import main
from blockprop.commands.epoch_log import HEADS, EpochLog
from blockprop.training.run import Record
from tests.commands.running import Output, run_json, sentence


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record(step: int, value: float, validation: float | None = None, ends: bool = False) -> Record:
    accuracy = None if validation is None else 0.25
    training = value + 1 if ends else None
    return Record(step, 6, (step + 1) // 2, value, 0.1 / step, 0.5 * step, validation, accuracy, ends, training)


RECORDS = [record(1, 4.0), record(2, 2.0, 1.5, True), record(3, 1.0), record(4, 0.5, 0.7, True)]
RECORDS += [record(5, 0.2), record(6, 0.1, ends=True), record(7, 0.9)]


def log(records: list[Record], resume: bool = False) -> None:
    file = EpochLog(Path("log.csv"), resume)
    for each in records:
        file(each)


def lines() -> list[dict[str, str]]:
    with Path("log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_for_each_epoch_as_soon_as_it_is_over() -> None:
    file = EpochLog(Path("log.csv"))
    for each in RECORDS[:2]:
        file(each)
    (first,) = lines()
    assert tuple(first) == HEADS
    assert list(first.values()) == ["1", "2", "1", "0.05", "3", "1.5", "0.25"]
    for each in RECORDS[2:]:
        file(each)
    assert [line["training_loss"] for line in lines()] == ["3", "1.5", "1.1"]
    assert lines()[2]["validation_loss"] == ""


def test_resumed_runs_go_on_and_others_begin_anew() -> None:
    log(RECORDS)
    log(RECORDS[3:], resume=True)
    assert [(line["epoch"], line["training_loss"]) for line in lines()] == [("1", "3"), ("2", "1.5"), ("3", "1.1")]
    log(RECORDS[3:])
    assert [line["epoch"] for line in lines()] == ["2", "3"]
    Path("log.csv").write_text("something else\n")
    log(RECORDS[3:], resume=True)
    assert [line["epoch"] for line in lines()] == ["2", "3"]


def test_train_augments_averages_and_logs(capsys: Output) -> None:
    command = ["train", "digits", "--network", "stages:8,12", "--epochs", "6", "--schedule", "one_cycle"]
    command += ["--augment", "shift:1,rotate:10", "--average", "0.9", "--log", "log.csv"]
    found = run_json(capsys, *command, "--rate", "0.2")
    assert found["accuracy"] > 0.6
    rates = [float(line["rate"]) for line in lines()]
    assert len(rates) == 6
    assert rates[5] < 0.001 < rates[0] < 0.2
    assert max(rates) > 0.15
    assert json.loads(json.dumps(found))["training_loss_last_epoch"] == pytest.approx(
        float(lines()[5]["training_loss"]), rel=1e-4
    )


def test_the_training_loss_is_that_of_all_examples_whatever_the_batches(capsys: Output) -> None:
    """With the rate 0 nothing changes: all batch sizes give one number, also with a last batch of another size."""
    losses = set()
    for size, accumulate in (("7", "1"), ("100", "1"), ("50", "2"), ("1000", "1")):
        command = ["train", "iris", "--epochs", "1", "--rate", "0", "--batch-size", size, "--accumulate", accumulate]
        trained = run_json(capsys, *command, "--log", "log.csv")
        losses.add(f"{trained['training_loss_last_epoch']:.5f}")
        assert float(lines()[0]["training_loss"]) == pytest.approx(trained["training_loss_last_epoch"], rel=1e-4)
    assert len(losses) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--augment", "flop"], "there is no augmentation 'flop'"),
        (["--average", "1.5"], "between 0 and 1"),
        (["--schedule", "one_cycl"], "did you mean 'one_cycle'"),
        (["--log", "."], "not an ordinary file"),
    ],
    ids=lambda case: "" if isinstance(case, str) else " ".join(case),
)
def test_wrong_settings_are_told_before_training(options: list[str], reason: str, capsys: Output) -> None:
    assert reason in sentence(capsys, "train", "digits", *options)
    assert main(["train", "iris", "--augment", "flip", "--epochs", "1"]) == 1
    assert "augmentations are for pictures" in capsys.readouterr().err
