"""`blockprop train`: what it learns, keeps and prints; interrupted and resumed."""

import inspect
import itertools
import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blockprop.cli import main
from blockprop.commands.losses import task_of
from blockprop.engine.objectives import LOSSES, cross_entropy
from blockprop.saving.storage import load
from tests.commands.running import Output, run_json, sentence, train_digits, wait_for
from tests.processes import started

OWN = """
from blockprop import Block, Sequential
from blockprop.blocks import Flatten, Linear
from beside import WIDTH

class Square(Block):
    def forward(self, x):
        return x * x, x
    def propagate(self, saved, d_y):
        return (2 * saved * d_y,)

def build(shape, outputs):
    return Sequential(Flatten(), Linear(64, WIDTH), Square(), Linear(WIDTH, outputs))
"""


def test_train_evaluate_and_predict_pictures(capsys: Output) -> None:
    trained = train_digits(capsys)
    assert trained["accuracy"] > 0.8
    assert trained["test_examples"] == 359
    assert load("net.safetensors").meta["classes"] == [str(digit) for digit in range(10)]
    tested = run_json(capsys, "evaluate", "net.safetensors", "digits")
    assert tested["accuracy"] > 0.8
    assert set(tested["by_class"]) == {str(digit) for digit in range(10)}
    from sklearn.datasets import load_digits

    picture = (load_digits().images[3] / 16 * 255).astype(np.uint8)
    Image.fromarray(picture).save("three.png")
    answer = run_json(capsys, "predict", "net.safetensors", "three.png", "--top", "2")
    (row,) = answer["predictions"]
    assert row["example"] == "three.png"
    assert row["classes"][0]["class"] == "3"
    assert len(row["classes"]) == 2


def test_people_get_tables_on_standard_output_and_progress_on_standard_error(capsys: Output) -> None:
    assert main(["train", "iris", "--network", "mlp:8", "--epochs", "2"]) == 0
    printed = capsys.readouterr()
    assert "accuracy" in printed.out
    assert "Training" in printed.err
    assert "Training" not in printed.out
    assert main(["predict", "network.safetensors", "iris"]) == 0
    assert "setosa" in capsys.readouterr().out


def test_a_table_with_text_columns_keeps_its_encoding(capsys: Output) -> None:
    rows = [f"{i % 7},{'red' if i % 2 else 'blue'},{3 * (i % 7) + 10 * (i % 2)}" for i in range(120)]
    Path("cars.csv").write_text("size,color,price\n" + "\n".join(rows))
    result = run_json(
        capsys,
        *("train", "cars.csv", "--target", "price", "--network", "mlp:16", "--epochs", "200", "--rate", "0.01"),
        *("--optimizer", "adam", "--loss", "huber"),
    )
    assert "accuracy" not in result
    assert result["test_loss"] < 3
    Path("new.csv").write_text("color,size\nred,5\nblue,1\ngreen,2\n")
    assert main(["predict", "network.safetensors", "new.csv", "--out", "prices.csv"]) == 0
    lines = Path("prices.csv").read_text().splitlines()
    assert lines[0] == "example,value1"
    assert float(lines[1].split(",")[1]) == pytest.approx(25, abs=5)


def test_numbers_to_predict_are_scaled_for_training_and_come_back_in_their_units(capsys: Output) -> None:
    Path("flats.csv").write_text(
        "area,age,price\n"
        + "\n".join(f"{20 + i % 90},{i % 13},{3000 * (20 + i % 90) - 500 * (i % 13)}.5" for i in range(300))
    )
    result = run_json(capsys, "train", "flats.csv", "--network", "mlp:16")
    assert result["r_squared"] > 0.95
    assert load("network.safetensors").outputs == ("units",)
    tested = run_json(capsys, "evaluate", "network.safetensors", "flats.csv")
    assert tested["part"] == "held out in training"
    assert tested["loss"] == pytest.approx(result["test_loss"])
    again = run_json(capsys, "train", "flats.csv", "--network", "network.safetensors", "--epochs", "1")
    assert again["r_squared"] > 0.95
    assert [node.name for node in load("network.safetensors").nodes].count("units") == 1


def test_blocks_of_your_own_from_a_file_that_imports_its_neighbor(capsys: Output) -> None:
    Path("own.py").write_text(OWN)
    Path("beside.py").write_text("WIDTH = 12\n")
    train = [
        "train",
        "digits",
        "--network",
        "own.py:build",
        "--epochs",
        "2",
        "--rate",
        "0.01",
        "--out",
        "own.safetensors",
    ]
    assert run_json(capsys, *train)["accuracy"] > 0.5
    assert "unknown type 'Square'" in sentence(capsys, "evaluate", "own.safetensors", "digits")
    tested = run_json(capsys, "evaluate", "own.safetensors", "digits", "--blocks", "own.py")
    assert tested["examples"] == 359
    assert run_json(capsys, "check", "own.safetensors", "--blocks", "own.py")["right"] is True
    run_json(capsys, "predict", "own.safetensors", "digits", "--blocks", "own.py")
    run_json(capsys, "diagram", "own.safetensors", "--blocks", "own.py")
    assert "defines no block" in sentence(capsys, "evaluate", "own.safetensors", "digits", "--blocks", "beside.py")


def test_one_class_is_nothing_to_learn(capsys: Output) -> None:
    np.savez("one.npz", x=np.random.default_rng(0).random((20, 4)), y=np.zeros(20, int))
    assert "all examples are of one class" in sentence(capsys, "train", "one.npz")


def test_all_training_settings_are_taken(capsys: Output) -> None:
    settings = "--epochs 2 --batch-size 32 --optimizer adamw --rate 0.01 --weight-decay 0.1 --schedule cosine"
    settings += " --label-smoothing 0.1 --patience 2 --clip 1 --seed 3 --validation-fraction 0.2 --report page"
    result = run_json(capsys, "train", "digits", *settings.split())
    page = Path(result["report"]).read_text()
    for heading in ("Learning", "Confusion matrix", "Saliency", "Hidden representations", "dataflow graph"):
        assert heading in page
    assert main(["train", "digits", "--epochs", "1", "--immediate", "--schedule", "linear", "--json"]) == 0


def test_a_report_on_the_training_data_does_not_call_them_unseen(capsys: Output) -> None:
    for fraction, said in (("0", "was trained on"), ("0.2", "has never seen")):
        result = train_digits(capsys, "--test-fraction", fraction, "--report", "page")
        assert f"examples that the network {said}" in Path(result["report"]).read_text()


def test_the_seed_decides_the_weights(capsys: Output) -> None:
    first = train_digits(capsys, "--seed", "1")
    again = train_digits(capsys, "--seed", "1")
    other = train_digits(capsys, "--seed", "2")
    assert first["training_loss_last_epoch"] == again["training_loss_last_epoch"] != other["training_loss_last_epoch"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.slow
@pytest.mark.parametrize(("by", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_saves_the_network_and_resume_goes_on(by: signal.Signals, word: str, capsys: Output) -> None:
    command = ["train", "digits", "--network", "mlp:16", "--epochs"]
    with started([sys.executable, "-m", "blockprop", *command, "100000", "--json"]) as process:
        wait_for("network.safetensors.checkpoint", process)
        process.send_signal(by)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + by
    assert json.loads(out) == {"error": word}
    assert "--resume goes on" in " ".join(err.split())
    assert "Traceback" not in err
    load("network.safetensors")
    told = sentence(capsys, *command, "1", "--resume")
    made = re.search(r"it has made (\d+) epochs already; here are only 1", told)
    assert made is not None
    again = run_json(capsys, *command, str(int(made[1]) + 1), "--resume")
    assert again["steps"] == 21 * (int(made[1]) + 1)


@pytest.mark.parametrize("again", ["--resume", "--force"])
def test_a_folder_is_trained_on_and_trained_anew(again: str, capsys: Output) -> None:
    command = ["train", "digits", "--network", "mlp:4", "--out", "net", "--epochs"]
    run_json(capsys, *command, "1")
    assert run_json(capsys, *command, "2", again)["network"] == "net"
    assert load("net").meta["data"] == "digits"


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_takes_classes_says_so(name: str) -> None:
    of_classes = "class_weights" in inspect.signature(LOSSES[name]).parameters
    assert task_of(name) == ("classify" if of_classes else "regress")


def test_a_new_loss_for_classes_is_not_taken_for_one_of_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    Path("table.csv").write_text("x,y\n" + "\n".join(f"{i % 90},{i % 90 // 2 + 0.5}" for i in range(300)))
    monkeypatch.setitem(LOSSES, "own", cross_entropy)
    assert "accuracy" in run_json(capsys, "train", "table.csv", "--epochs", "1", "--loss", "own")
    assert "accuracy" not in run_json(capsys, "train", "table.csv", "--epochs", "1")


def test_resuming_with_something_else_is_refused_and_a_finished_run_says_so(capsys: Output) -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    np.savez("a.npz", x=x, y=y)
    usual_options = {"--epochs": "2", "--schedule": "cosine"}
    usual = ["train", "a.npz", *itertools.chain(*usual_options.items())]
    whole = run_json(capsys, *usual)
    resumed = run_json(capsys, *usual, "--resume")
    assert "steps" not in resumed
    assert resumed["test_loss"] == whole["test_loss"]
    assert main([*usual, "--resume"]) == 0
    assert "the run is over (2 of 2 epochs)" in " ".join(capsys.readouterr().err.split())
    for options, told in (
        ({"--epochs": "4"}, "the schedule in the file goes over 2 steps, here over 4"),
        ({"--schedule": "linear"}, "the --schedule in the file is cosine, here it is linear; it cannot be"),
        ({"--rate": "0.2"}, "the --rate of the --optimizer in the file is 0.05, here it is 0.2"),
        ({"--batch-size": "16"}, "-size in the file is 64, here it is 16"),
        ({"--loss": "negative_log_likelihood"}, "the objective in the file is cross_entropy()"),
    ):
        changed = usual_options | options
        assert told in sentence(capsys, "train", "a.npz", *itertools.chain(*changed.items()), "--resume")
    np.savez("a.npz", x=x + 0.001, y=y)
    assert "the training data are not those of the file" in sentence(capsys, *usual, "--resume")
