"""`blockprop predict`: photographs, folders of them, and rows of tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import Affine, Conv2d, Flatten, GlobalAvgPool, Linear, LogSoftmax, Reshape, Softmax
from blockprop.cli import main
from blockprop.commands.predict import probabilities
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from tests.commands.running import SEES, Output, run_json, saved, sentence, train_digits

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def of_color() -> Network:
    """Ten times the mean of blue, green and red: so the scores are 10 for the color and 0 for the others."""
    return Sequential({"pool": GlobalAvgPool()})


def colored(color: str, name: str | None = None) -> str:
    path = name or f"{color}.png"
    Path(path).parent.mkdir(exist_ok=True)
    Image.new("RGB", (20, 12), COLORS[color]).save(path)
    return path


def seeing(classes: list[str] | None = None) -> str:
    return saved(with_preprocessing(of_color(), SEES, classes))


def test_photographs_have_their_classes_named(capsys: Output) -> None:
    network = seeing(["blue", "green", "red"])
    rows = run_json(capsys, "predict", network, colored("red"), colored("green"))["predictions"]
    assert [row["example"] for row in rows] == ["red.png", "green.png"]
    best, second, third = rows[0]["classes"]
    share = np.exp(10) / (np.exp(10) + 2)
    assert best == {"class": "red", "number": 2, "probability": pytest.approx(share, rel=1e-5)}
    assert second["probability"] == third["probability"] == pytest.approx((1 - share) / 2, rel=1e-3)
    assert rows[1]["classes"][0]["class"] == "green"
    (row,) = run_json(capsys, "predict", network, "red.png", "--top", "1")["predictions"]
    assert [found["class"] for found in row["classes"]] == ["red"]


def test_people_see_bars(capsys: Output) -> None:
    long = "green, " + "the color of leaves and of grass and of " * 3
    network = saved(with_preprocessing(of_color(), Preprocessing(8, 1.0), ["red", long, ""]))
    colored("green", "photos/a.png")
    colored("red", "photos/b.png")
    assert main(["predict", network, "photos"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "photos/a.png"
    # e / (e + 2) = 57.6 %, which is 11.52 of 20 characters
    assert lines[1] == "    57.6%  ███████████▌          green, the color of leaves and of grass and of…"
    assert max(map(len, lines)) == 80
    assert lines[2] == "    21.2%  ████▎                 red"
    assert lines[3].endswith("  2"), "a class without a name has its number"
    assert lines[4:6] == ["", "photos/b.png"]


def test_five_classes_of_many(capsys: Output) -> None:
    network = Sequential({"pool": GlobalAvgPool(), "fc": Linear(3, 7), "softmax": Softmax(1)})
    path = saved(with_preprocessing(network, Preprocessing(8)))
    (row,) = run_json(capsys, "predict", path, colored("red"))["predictions"]
    assert len(row["classes"]) == 5
    assert {found["class"] for found in row["classes"]} <= set("0123456")
    assert all(found["class"] == str(found["number"]) for found in row["classes"])
    (row,) = run_json(capsys, "predict", path, "red.png", "--top", "9")["predictions"]
    assert sum(found["probability"] for found in row["classes"]) == pytest.approx(1)


def test_predictions_in_a_table(capsys: Output) -> None:
    network = seeing(["blue", "green", "red, as a rose"])
    assert main(["predict", network, colored("red"), "--top", "2", "--out", "all.csv"]) == 0
    head, row = Path("all.csv").read_text().splitlines()
    assert head == "example,class,probability,class2,probability2"
    assert row.startswith('red.png,"red, as a rose",0.9999')
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "ending",
    [
        {},
        {"softmax": Softmax(1)},
        {"softmax": Softmax(1), "flat": Flatten(), "shaped": Reshape((3, 1, 1))},
        {"log": LogSoftmax(1)},
        {"log": LogSoftmax(1), "shaped": Reshape((3, 1))},
    ],
    ids=["scores", "softmax", "softmax, reshaped", "logarithms", "logarithms, reshaped"],
)
def test_probabilities_whatever_the_network_ends_with(capsys: Output, ending: dict) -> None:
    network = Sequential({"pool": GlobalAvgPool(), "scores": Affine(2.0)} | ending)
    path = saved(with_preprocessing(network, Preprocessing(8), None if ending else ["a", "b", "c"]))
    (row,) = run_json(capsys, "predict", path, colored("red"))["predictions"]
    shares = torch.tensor([2.0, 0, 0]).softmax(0).tolist()
    assert [found["probability"] for found in row["classes"]] == pytest.approx(shares)


def test_a_softmax_inside_is_no_softmax_at_the_end() -> None:
    network = Sequential({"softmax": Softmax(1), "fc": Linear(3, 3), "flat": Flatten()})
    scores = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(probabilities(scores, network), scores.softmax(0))
    passed_through = Network([], ("x",), ("x",))
    assert torch.equal(probabilities(scores, passed_through), scores.softmax(0))


def two_heads() -> Network:
    nodes = [
        Node("pool", GlobalAvgPool(), ("x",)),
        Node("first", Affine(5.0), ("pool",)),
        Node("second", Affine(-5.0), ("pool",)),
        Node("large", Conv2d(3, 2, 3), ("x",)),
    ]
    return with_preprocessing(Network(nodes), Preprocessing(8), ["red", "green", "blue"])


def test_one_output_of_several(capsys: Output) -> None:
    network, photo = saved(two_heads()), colored("green")
    said = sentence(capsys, "predict", network, photo)
    assert "has 3 outputs (first, second, large); choose one with --output NAME" in said
    for output, color in (("first", "green"), ("second", "red"), ("pool", "green")):
        (row,) = run_json(capsys, "predict", network, photo, "--output", output)["predictions"]
        assert row["classes"][0]["class"] == color
    said = sentence(capsys, "predict", network, photo, "--output", "fist")
    assert "no output 'fist'; its own: first, second, large; did you mean 'first'?" in said
    said = sentence(capsys, "predict", network, photo, "--output", "large")
    assert "the output 'large' is 1 x 2 x 6 x 6, not one score for each class" in said


def test_one_number_is_no_class(capsys: Output) -> None:
    network = Sequential({"pool": GlobalAvgPool(), "fc": Linear(3, 1)})
    network.blocks["fc"].weight.fill_(2.0)
    path = saved(with_preprocessing(network, Preprocessing(8)))
    (row,) = run_json(capsys, "predict", path, colored("red"))["predictions"]
    assert row["values"] == pytest.approx([2.0])
    assert main(["predict", path, "red.png"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["red.png", "2"]


@pytest.mark.parametrize("count", [4, 12])
def test_numbers_that_are_no_classes_are_shown_as_they_are(count: int, capsys: Output) -> None:
    """A network of features, of measurements, or one whose names are of another output: no percent."""
    network = Sequential({"pool": GlobalAvgPool(), "fc": Linear(3, count)})
    network.blocks["fc"].weight.copy_(torch.arange(count * 3.0).reshape(count, 3))
    path = saved(with_preprocessing(network, Preprocessing(8)))
    found = run_json(capsys, "predict", path, colored("red"))
    assert found["predictions"][0]["values"] == pytest.approx([3.0 * i for i in range(count)])
    assert "names no classes" in found["notes"][0]
    assert main(["predict", path, "red.png"]) == 0
    shown = capsys.readouterr().out.splitlines()[1]
    few, many = "red.png  0, 3, 6, 9", "red.png  12 numbers, the largest 33 (output 11), 30 (output 10), 27 (output 9)"
    assert shown == (few if count == 4 else many)
    (seen,) = run_json(capsys, "saliency", "red.png", "--network", path)["saliency"]
    assert seen["probability"] is None
    assert seen["value"] == pytest.approx(3.0 * (count - 1))
    assert main(["saliency", "red.png", "--network", path]) == 0
    assert f"output {count - 1}" in capsys.readouterr().out


def test_numbers_that_are_not_finite_are_not_shown(capsys: Output) -> None:
    network = Sequential({"pool": GlobalAvgPool(), "fc": Linear(3, 2)})
    network.blocks["fc"].bias.fill_(float("nan"))
    path = saved(with_preprocessing(network, Preprocessing(8)))
    assert "red.png: the network gives numbers that are not finite" in sentence(capsys, "predict", path, colored("red"))


def test_a_network_that_was_never_told_how_to_see(capsys: Output) -> None:
    network, photo = saved(of_color()), colored("red")
    said = sentence(capsys, "predict", network, photo)
    assert "net.safetensors does not say what it expects of a photograph" in said
    assert "--preprocessing FILE" in said
    assert "net.json" in said
    Path("names.txt").write_text("blue\ngreen\nred\n")
    Path("how.toml").write_text('size = 8\nrange = 10\nchannels = "BGR"\nclasses = "names.txt"\n')
    (row,) = run_json(capsys, "predict", network, photo, "--preprocessing", "how.toml")["predictions"]
    assert row["classes"][0]["class"] == "red"
    Path("how.toml").rename("net.toml")
    assert run_json(capsys, "predict", network, photo)["predictions"] == [row]
    assert main(["predict", network, photo, "--preprocessing", "how.json"]) == 1
    assert "how.json: there is no such file" in capsys.readouterr().err
    told = seeing()
    assert "has preprocessing already" in sentence(capsys, "predict", told, photo, "--preprocessing", "net.toml")


def test_the_example_in_the_sentence_is_right(capsys: Output) -> None:
    network, photo = saved(of_color()), colored("red")
    said = sentence(capsys, "predict", network, photo)
    example = said[said.index("{") : said.index("}") + 1]
    assert json.loads(example)["channels"] == "BGR"
    Path("net.json").write_text(example)
    (row,) = run_json(capsys, "predict", network, photo)["predictions"]
    assert max(row["values"]) == row["values"][2]


def test_published_networks_bring_it_along(capsys: Output) -> None:
    network = of_color()
    network.meta |= {"preprocessing": SEES.to_dict(), "classes": ["blue", "green", "red"]}
    (row,) = run_json(capsys, "predict", saved(network), colored("red"))["predictions"]
    assert row["classes"][0]["number"] == 2


def test_numbers_for_a_network_that_sees_pictures(capsys: Output) -> None:
    network = seeing(["blue", "green", "red"])
    np.savez("rows.npz", x=np.stack([np.eye(3)[i][:, None, None] * np.ones((3, 8, 8)) for i in (0, 2)]))
    rows = run_json(capsys, "predict", network, "rows.npz")["predictions"]
    assert [row["classes"][0]["class"] for row in rows] == ["red", "blue"]


def test_a_folder_of_pictures_is_predicted_file_by_file(capsys: Output) -> None:
    train_digits(capsys)
    for name in ("a", "b"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(f"{name}.png")
    rows = run_json(capsys, "predict", "net.safetensors", ".")["predictions"]
    assert [row["example"] for row in rows] == ["a.png", "b.png"]
