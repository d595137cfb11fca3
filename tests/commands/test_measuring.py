"""What `train` and `evaluate` say of how good a network is, and that no file says where the data lie."""

import json
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors import safe_open
from sklearn import metrics

from blockprop.cli import main
from blockprop.saving.storage import load, save
from tests.commands.running import Output, run_json, sentence

RATES = ("accuracy", "majority_share", "balanced_accuracy", "precision", "recall", "f1", "auc")


@pytest.fixture(autouse=True)
def _rare_and_prices(_in_a_folder_of_its_own: None) -> None:
    """health.csv, 6 % of it ill, hard to tell; flats.csv with prices."""
    chance = random.Random(0)
    rows = ["age,pressure,state"]
    for i in range(500):
        ill = i % 17 == 0
        age, pressure = chance.gauss(50 + 6 * ill, 10), chance.gauss(120 + 9 * ill, 10)
        rows.append(f"{age:.2f},{pressure:.2f},{'ill' if ill else 'well'}")
    Path("health.csv").write_text("\n".join(rows))
    prices = [f"{20 + i % 90},{i % 13},{3000 * (20 + i % 90) + chance.gauss(0, 9000):.1f}" for i in range(200)]
    Path("flats.csv").write_text("\n".join(["area,age,price", *prices]))


def predicted(capsys: Output, network: str, data: str) -> tuple[list, list]:
    """(truth, predictions) of the part that `evaluate` looks at, by way of `predict --out`."""
    capsys.readouterr()
    assert main(["predict", network, data, "--out", "said.csv"]) == 0
    said = [line.split(",")[1] for line in Path("said.csv").read_text().splitlines()[1:]]
    return [line.split(",")[-1] for line in Path(data).read_text().splitlines()[1:]], said


def test_balanced_weights_find_the_rare_class_and_say_what_that_costs(capsys: Output) -> None:
    usual = ["train", "health.csv", "--epochs", "15"]
    plain = run_json(capsys, *usual, "-o", "plain.safetensors")
    balanced = run_json(capsys, *usual, "-o", "balanced.safetensors", "--class-weights", "balanced")
    assert balanced["by_class"]["ill"]["recall"] > plain["by_class"]["ill"]["recall"]
    assert balanced["balanced_accuracy"] > plain["balanced_accuracy"]
    assert plain["majority"] == "well"
    assert plain["majority_share"] == pytest.approx(94 / 100, abs=0.011)
    tested = run_json(capsys, "evaluate", "balanced.safetensors", "health.csv")
    assert tested["part"] == "held out in training"
    assert [tested[name] for name in RATES] == [balanced[name] for name in RATES]
    assert tested["loss"] == pytest.approx(balanced["test_loss"]), "the loss that it was trained with, weights included"
    of_each = run_json(capsys, "evaluate", "balanced.safetensors", "health.csv", "--loss", "cross_entropy")
    assert of_each["loss"] != tested["loss"]


def test_measures_of_a_whole_file_are_those_of_its_predictions(capsys: Output) -> None:
    run_json(capsys, "train", "health.csv", "--epochs", "5", "-o", "h.safetensors", "--class-weights", "16,1")
    Path("copy.csv").write_text(Path("health.csv").read_text() + "\n40.5,118,well")
    found = run_json(capsys, "evaluate", "h.safetensors", "copy.csv")
    truth, said = predicted(capsys, "h.safetensors", "copy.csv")
    assert found["part"] == "all"
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert found["f1"] == pytest.approx(metrics.f1_score(truth, said, average="macro"))
    assert found["by_class"]["ill"]["precision"] == pytest.approx(metrics.precision_score(truth, said, pos_label="ill"))


def test_numbers_have_errors_in_their_own_units_and_a_picture(capsys: Output) -> None:
    trained = run_json(capsys, "train", "flats.csv", "--epochs", "30", "-o", "f.safetensors", "--report", "of_training")
    assert Path(trained["figure"]).read_text().startswith("<?xml")
    assert "Predicted against true" in Path("of_training/index.html").read_text()
    Path("copy.csv").write_text(Path("flats.csv").read_text() + "\n50,3,150000")
    found = run_json(capsys, "evaluate", "f.safetensors", "copy.csv", "--report", "of_test")
    truth, said = (np.array(column, float) for column in predicted(capsys, "f.safetensors", "copy.csv"))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said), rel=1e-4)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said), rel=1e-4)
    assert found["r_squared"] == pytest.approx(metrics.r2_score(truth, said), rel=1e-4)
    assert 3000 < found["mae"] < found["rmse"] < 40000
    assert {path.name for path in Path("of_test").iterdir()} == {"index.html", "predicted_against_true.svg"}


def test_yes_no_answers_are_measured_as_such(capsys: Output) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    np.savez("answers.npz", x=x, y=(x[:, 0] > 1).astype(np.float32))
    trained = run_json(capsys, "train", "answers.npz", "--loss", "binary_cross_entropy", "-o", "a.safetensors")
    found = run_json(capsys, "evaluate", "a.safetensors", "answers.npz")
    assert "r_squared" not in found
    assert found["majority"] == "no"
    assert [found[name] for name in RATES] == [trained[name] for name in RATES]


def test_a_class_alone_has_no_auc_and_people_are_told(capsys: Output) -> None:
    run_json(capsys, "train", "health.csv", "--epochs", "2", "-o", "h.safetensors")
    Path("well.csv").write_text("\n".join(["age,pressure,state", *["50,120,well"] * 5]))
    found = run_json(capsys, "evaluate", "h.safetensors", "well.csv")
    assert found["auc"] is None
    assert found["about_measures"] == ["auc is not defined: all examples are of one class, well"]
    assert main(["evaluate", "h.safetensors", "well.csv"]) == 0
    printed = capsys.readouterr()
    assert "not defined" in printed.out
    assert "all examples are of one class, well" in " ".join(printed.err.split())


@pytest.mark.parametrize(
    ("data", "weights", "told"),
    [
        ("health.csv", "balance", "did you mean 'balanced'"),
        ("health.csv", "1,2,3", r"2 numbers of at least 0, one for each class in this order (ill, well)"),
        ("health.csv", "0,0", "2 numbers of at least 0"),
        ("health.csv", "1,-1", "2 numbers of at least 0"),
        ("flats.csv", "balanced", "class weights are for classes; the targets here are numbers"),
    ],
)
def test_class_weights_that_make_no_sense_are_refused(data: str, weights: str, told: str, capsys: Output) -> None:
    assert told in sentence(capsys, "train", data, "--class-weights", weights)


def test_a_forged_loss_is_refused_in_a_sentence(capsys: Output) -> None:
    run_json(capsys, "train", "health.csv", "--epochs", "1", "-o", "h.safetensors")
    for loss in ({}, {"name": "no"}, {"name": "cross_entropy", "class_weights": "many"}, 3, {"name": ["x"]},
                 {"name": "cross_entropy", "class_weights": [1.0]}, {"name": "huber", "delta": "far"}):  # fmt: skip
        network = load("h.safetensors")
        network.meta["loss"] = loss  # type: ignore[typeddict-item]
        save(network, "forged.safetensors")
        said = "choose one with --loss" if isinstance(loss, dict) else "what it says of itself is spoiled: 'loss' is 3"
        assert said in sentence(capsys, "evaluate", "forged.safetensors", "health.csv")


def test_no_file_says_where_the_data_lie(tmp_path: Path, capsys: Output) -> None:
    """Network, checkpoint, ONNX file, page and log, of data, a network in Python and outputs named by full paths."""
    Path("secret_place").mkdir()
    Path("health.csv").rename("secret_place/health.csv")
    Path("secret_place/nets.py").write_text(
        "from blockprop import Sequential\nfrom blockprop.blocks import Linear\n"
        "def build(shape, outputs):\n    return Sequential(Linear(shape[0], outputs))\n"
    )
    data, spec = str(tmp_path / "secret_place/health.csv"), str(tmp_path / "secret_place/nets.py:build")
    run_json(
        capsys,
        "train",
        data,
        "--network",
        spec,
        "--epochs",
        "2",
        "-o",
        "n.safetensors",
        "--report",
        "r",
        "--log",
        "l.csv",
    )
    run_json(capsys, "export", "n.safetensors", "-o", "n.onnx")
    run_json(capsys, "evaluate", "n.safetensors", data, "--report", "e")
    files = ["n.safetensors", "n.safetensors.checkpoint", "n.onnx", "r/index.html", "e/index.html", "l.csv"]
    for file in files:
        content = Path(file).read_bytes()
        assert b"secret_place" not in content, file
        assert str(tmp_path).encode() not in content, file
    kept = {prop.key: prop.value for prop in onnx.load("n.onnx").metadata_props}
    assert json.loads(kept["blockprop"])["data"] == "health.csv"
    with safe_open("n.safetensors", framework="pt") as file_:
        assert '"held_out"' in file_.metadata()["blockprop"]
    assert run_json(capsys, "evaluate", "n.safetensors", data)["part"] == "held out in training"


def test_what_was_held_out_is_known_by_its_content_wherever_it_lies(capsys: Output) -> None:
    run_json(capsys, "train", "health.csv", "--epochs", "1", "-o", "h.safetensors")
    Path("elsewhere").mkdir()
    Path("health.csv").rename("elsewhere/other.csv")
    assert run_json(capsys, "evaluate", "h.safetensors", "elsewhere/other.csv")["part"] == "held out in training"
    Path("health.csv").write_text(Path("elsewhere/other.csv").read_text() + "\n40,118,well")
    found = run_json(capsys, "evaluate", "h.safetensors", "health.csv")
    assert found["part"] == "all"
    assert any(
        "has the name of what the network was trained on, and another content" in note for note in found["notes"]
    )


def test_networks_saved_before_know_their_data_by_place(capsys: Output) -> None:
    run_json(capsys, "train", "health.csv", "--epochs", "1", "-o", "h.safetensors")
    network = load("h.safetensors")
    network.meta["held_out"] = {"source": str(Path("health.csv").absolute()), "fraction": 0.2, "seed": 0}  # type: ignore[typeddict-item]
    del network.meta["loss"]
    save(network, "old.safetensors")
    new, old = (run_json(capsys, "evaluate", name, "health.csv") for name in ("h.safetensors", "old.safetensors"))
    assert old | {"network": ""} == new | {"network": ""}
