"""The command line: what it prints where, its exit codes, and its sentences for what goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blockprop.cli import main
from blockprop.commands.parsing import block_named, shape_named
from blockprop.errors import SettingError
from blockprop.saving.storage import load

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_json(capsys: Output, *arguments: str) -> dict:
    """Run a command with --json; return the one object that it prints."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out)


def sentence(capsys: Output, *arguments: str, code: int = 1) -> str:
    """Run a command that fails; return its one sentence."""
    capsys.readouterr()
    assert main(list(arguments)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("blockprop: ")
    return lines[0]


def train_digits(capsys: Output, *more: str) -> dict:
    return run_json(
        capsys, "train", "digits", "--network", "mlp:16", "--epochs", "3", "--out", "net.safetensors", *more
    )


def test_train_evaluate_and_predict_pictures(capsys: Output) -> None:
    trained = train_digits(capsys)
    assert trained["accuracy"] > 0.8
    assert trained["test_examples"] == 359
    assert load("net.safetensors").meta["classes"] == [str(digit) for digit in range(10)]
    tested = run_json(capsys, "evaluate", "net.safetensors", "digits")
    assert tested["accuracy"] > 0.8
    assert set(tested["accuracy_by_class"]) == {str(digit) for digit in range(10)}
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


def test_a_folder_of_pictures_is_predicted_file_by_file(capsys: Output) -> None:
    train_digits(capsys)
    for name in ("a", "b"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(f"{name}.png")
    rows = run_json(capsys, "predict", "net.safetensors", ".")["predictions"]
    assert [row["example"] for row in rows] == ["a.png", "b.png"]


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


def test_check_networks_and_blocks(capsys: Output) -> None:
    result = run_json(capsys, "check", "mlp:8", "--examples", "3")
    assert result["right"] is True
    assert result["worst_gradient_error"] < 1e-6
    assert set(result["errors"]) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "x"}
    assert main(["check", "Conv2d(2, 3, 3, padding=1)", "--shape", "2,2,5,5"]) == 0
    assert "right" in capsys.readouterr().out
    assert main(["check", "MatMul", "--shape", "2,3;3,4"]) == 0


def test_a_wrong_backward_exits_with_3(capsys: Output) -> None:
    Path("wrong.py").write_text(
        "from blockprop import Sequential\n"
        "from blockprop.blocks import Flatten, Linear\n"
        "class Wrong(Linear):\n"
        "    def gradients(self, saved, d_y):\n"
        "        return {name: 1.01 * d for name, d in super().gradients(saved, d_y).items()}\n"
        "def build(shape, outputs):\n"
        "    return Sequential(Flatten(), Wrong(64, outputs))\n"
    )
    assert main(["check", "wrong.py:build"]) == 3
    assert "WRONG" in capsys.readouterr().out


def test_diagrams(capsys: Output) -> None:
    result = run_json(capsys, "diagram", "lenet", "--out", "lenet.svg")
    assert result["nodes"] == 12
    assert ">6 × 28 × 28<" in Path("lenet.svg").read_text()
    train_digits(capsys)
    run_json(capsys, "diagram", "net.safetensors", "--data", "digits", "--out", "net.svg")
    assert "gradient" in Path("net.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "nothing.csv"], 1, r"nothing\.csv: there is no such file .* digits"),
        (["train", "digits", "--networ", "mlp"], 2, r"No such option: --networ .*blockprop train --help"),
        (["trane"], 2, r"No such command 'trane'"),
        (["train"], 2, r"[Mm]issing argument"),
        (["train", "digits", "--epochs", "many"], 2, r"--epochs"),
        (["train", "digits", "--epochs", "0"], 2, r"--epochs"),
        (["train", "digits", "--network", "mpl:3"], 1, r"did you mean 'mlp'"),
        (["train", "digits", "--network", "mlp:a"], 1, r"mlp:128,64"),
        (["train", "iris", "--network", "lenet"], 1, r"lenet takes pictures"),
        (["train", "digits", "--optimizer", "adm"], 1, r"did you mean .*'adam'"),
        (["train", "digits", "--schedule", "cosin"], 1, r"did you mean 'cosine'"),
        (["train", "digits", "--loss", "cross"], 1, r"there is no loss 'cross'"),
        (["train", "diabetes", "--label-smoothing", "0.1", "--loss", "huber"], 1, r"huber has none"),
        (["train", "digits", "--resume"], 1, r"there is no checkpoint network\.safetensors\.checkpoint"),
        (["train", "digits", "--optimizer", "sparseadam"], 1, r"there is no optimizer"),
        (["train", "digits", "--seed", "9" * 30], 2, r"--seed"),
        (["train", "digits", "--rate", "nan"], 1, r"rate >= 0"),
        (["train", "digits", "--out", "/proc/no/x.safetensors"], 1, r"could not be written"),
        (["train", "digits", "--patience", "2", "--validation-fraction", "0"], 1, r"patience needs validation data"),
        (["diagram", "lenet", "--out", "lenet.png"], 1, r"lenet\.svg, came lenet\.png"),
        (["demo", "--out", "/proc/no"], 1, r"could not be written"),
        (["check", "lenet"], 1, r"16 x 16"),
        (["train", "digits", "--device", "cuda:99"], 1, r"device 'cuda:99' cannot be used"),
        (["train", "digits", "--device", "toaster"], 1, r"device 'toaster' cannot be used"),
        (["train", "digits", "--clip", "1", "--immediate"], 1, r"does not go with immediate"),
        (["evaluate", "nothing.safetensors", "digits"], 1, r"nothing\.safetensors"),
        (["check", "Conv2d(3, 8, 3)"], 1, r"--shape 2,3,8,8"),
        (["check", "Conv2d(3, 8, 3)", "--shape", "2,5,8,8"], 1, r"expected \(n, 3, h, w\), came \(2, 5, 8, 8\)"),
        (["check", "Conv2d(3, 8, 3)", "--shape", "a,b"], 1, r"such as 2,3,8,8"),
        (["check", "Conv2d(print(1))", "--shape", "1"], 1, r"does not describe a block"),
        (["diagram", "lenet", "--out", "/proc/no/such.svg"], 1, r"could not be written"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(capsys: Output, arguments: list[str], code: int, said: str) -> None:
    assert re.search(said, sentence(capsys, *arguments, code=code))
    assert not list(Path().glob("*.safetensors"))


def test_errors_are_json_too(capsys: Output) -> None:
    assert main(["train", "nothing.csv", "--json"]) == 1
    assert "nothing.csv" in json.loads(capsys.readouterr().out)["error"]


def test_nothing_in_a_block_description_is_run() -> None:
    assert block_named("mlp:3") is None
    assert repr(block_named("ReLU")) == "ReLU()"
    for text in ("Linear(__import__('os').getpid(), 3)", "Linear(3", "Linear(3, 4, 5, 6)", "Linear(3, bias=)"):
        with pytest.raises(SettingError):
            block_named(text)
    assert shape_named("2,3") == (2, 3)


def test_help_has_examples(capsys: Output) -> None:
    for command in ("train", "evaluate", "predict", "check", "diagram", "demo"):
        assert main([command, "--help"]) == 0
        assert "blockprop " + command in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("blockprop 0.")


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.slow
def test_ctrl_c_saves_the_network_and_resume_goes_on() -> None:
    command = [
        sys.executable,
        "-m",
        "blockprop",
        "train",
        "digits",
        "--network",
        "mlp:16",
        "--epochs",
        "100000",
        "--json",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not Path("network.safetensors.checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out) == {"error": "interrupted"}
    assert "--resume goes on" in " ".join(err.split())
    assert "Traceback" not in err
    load("network.safetensors")
    again = subprocess.run([*command[:-2], "1", "--resume", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["network"] == "network.safetensors"


@pytest.mark.slow
def test_the_demo_writes_one_page_and_reaches_its_figures(capsys: Output) -> None:
    result = run_json(capsys, "demo")
    assert result["accuracy"] >= 0.97
    assert result["worst_gradient_error"] < 1e-6
    assert result["gradients_right"] is True
    page = Path(result["report"]).read_text()
    assert "Saliency" in page
    assert "Gradient check" in page
    assert not re.search(r"""(src|href)=["']https?:""", page), "the page must ask the network for nothing"
    assert load(result["network"]).meta["classes"] == [str(digit) for digit in range(10)]
