"""`blockprop predict` for photographs, and `blockprop info`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import (
    Add,
    Affine,
    Conv2d,
    Embedding,
    Flatten,
    GlobalAvgPool,
    Linear,
    LogSoftmax,
    ReLU,
    Reshape,
    Softmax,
)
from blockprop.cli import main
from blockprop.commands.predict import probabilities
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.interop.opaque import Opaque
from blockprop.pictures.photos import Preprocessing, with_preprocessing
from blockprop.saving.storage import load, save
from tests.commands.test_cli import Output, run_json, sentence

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
SEES = Preprocessing(8, 10.0, channels="BGR")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def of_color() -> Network:
    """Ten times the mean of blue, green and red: so the scores are 10 for the color and 0 for the others."""
    return Sequential({"pool": GlobalAvgPool()})


def saved(network: Network, name: str = "net.safetensors") -> str:
    save(network, name)
    return name


def colored(color: str, name: str | None = None) -> str:
    path = name or f"{color}.png"
    Path(path).parent.mkdir(exist_ok=True)
    Image.new("RGB", (20, 12), COLORS[color]).save(path)
    return path


def seeing(classes: list[str] | None = None) -> str:
    return saved(with_preprocessing(of_color(), SEES, classes))


# predict --------------------------------------------------------------------------------------------------------------


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
    network = Sequential({"pool": GlobalAvgPool(), "fc": Linear(3, 7)})
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
    path = saved(with_preprocessing(network, Preprocessing(8)))
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
    assert "no output 'fist'; did you mean 'first'?" in sentence(capsys, "predict", network, photo, "--output", "fist")
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
    assert row["classes"][0]["class"] == "2"


def test_published_networks_bring_it_along(capsys: Output) -> None:
    network = of_color()
    network.meta["preprocessing"] = SEES.to_dict()
    (row,) = run_json(capsys, "predict", saved(network), colored("red"))["predictions"]
    assert row["classes"][0]["number"] == 2


def test_numbers_for_a_network_that_sees_pictures(capsys: Output) -> None:
    network = seeing(["blue", "green", "red"])
    np.savez("rows.npz", x=np.stack([np.eye(3)[i][:, None, None] * np.ones((3, 8, 8)) for i in (0, 2)]))
    rows = run_json(capsys, "predict", network, "rows.npz")["predictions"]
    assert [row["classes"][0]["class"] for row in rows] == ["red", "blue"]


# info -----------------------------------------------------------------------------------------------------------------


def test_facts_for_programs(capsys: Output) -> None:
    network = with_preprocessing(
        Sequential({"conv": Conv2d(3, 4, 3), "relu": ReLU(), "pool": GlobalAvgPool(), "fc": Linear(4, 2)}),
        Preprocessing(8, 255.0, 128, channels="BGR"),
        ["cat", "dog"],
    )
    network.meta["free"] = {"x": [0, 2, 3]}
    found = run_json(capsys, "info", saved(network), "--batch-size", "2")
    assert found["inputs"] == [{"name": "x", "shape": [2, 3, 8, 8], "free": [0, 2, 3]}]
    assert found["outputs"] == [{"name": "fc", "shape": [2, 2]}]
    assert found["classes"] == ["cat", "dog"]
    assert found["picture"] == {**SEES.to_dict(), "range": 255.0, "mean": 128}
    assert found["dtypes"] == ["float32"]
    assert found["file_bytes"] == Path("net.safetensors").stat().st_size
    assert found["parameters"] == 3 * 4 * 9 + 4 + 4 * 2 + 2 == 122
    assert found["weight_bytes"] == 4 * 122
    assert found["multiply_adds"] == 2 * 4 * 36 * 27 + 2 * 4 * 2
    assert found["unknown_multiply_adds"] == found["opaque"] == []
    assert [node["node"] for node in found["nodes"]] == [node.name for node in network.nodes]
    conv = next(node for node in found["nodes"] if node["node"] == "conv")
    assert conv == {
        "node": "conv",
        "block": "Conv2d(3, 4, 3)",
        "shapes": [[2, 4, 6, 6]],
        "parameters": 112,
        "multiply_adds": 2 * 4 * 36 * 27,
        "output_bytes": 4 * 288,
        "forward_bytes": 4 * (384 + 288),
        "saved_bytes": 4 * 384,
    }
    assert found["forward_bytes"] == max(node["forward_bytes"] for node in found["nodes"])
    assert found["saved_bytes"] == sum(node["saved_bytes"] for node in found["nodes"])


def test_a_table_for_people(capsys: Output) -> None:
    network = Sequential({"conv": Conv2d(3, 40, 3), "relu": ReLU(), "pool": GlobalAvgPool(), "fc": Linear(40, 2)})
    path = saved(with_preprocessing(network, Preprocessing(64, 255.0, (104, 117, 123), 2), ["cat", "dog"]))
    assert main(["info", path]) == 0
    text = capsys.readouterr().out
    for line in (
        "weights  1,202 parameters, 4.81 kB, float32",
        "input    x  1×3×64×64",
        "output   fc  1×2",
        "picture  RGB, 64×64 out of 73 on the shorter side; (255 x − (104, 117, 123)) / 2",
        "classes  2: cat; dog",
    ):
        assert line in text.splitlines()
    conv = next(line for line in text.splitlines() if line.startswith("conv "))
    # 40 · 62 · 62 · 27 multiply-adds; 62 · 62 · 40 and 64 · 64 · 3 numbers alive, the latter kept
    assert conv.split()[-8:] == ["1×40×62×62", "1,120", "4.15", "M", "664", "kB", "49.2", "kB"]


def long_network(count: int) -> Network:
    nodes, last = [], "x"
    for i in range(count):
        name = f"features.denseblock{i}.denselayer{i}.norm.and.convolution"
        nodes.append(Node(name, Conv2d(3, 3, 3, padding=1, with_bias=False) if i % 2 else ReLU(), (last,)))
        last = name
    network = Network([*nodes, Node("sum", Add(), (last, "x"))])
    network.meta["shape"] = [3, 32, 32]
    return network


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_many_nodes_with_long_names_fit_the_terminal(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["info", saved(long_network(120))]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("") + 1 :]
    assert len(table) == 1 + 121 + 1
    assert max(map(len, lines)) <= columns
    assert table[1].startswith("feat")
    assert "…" in table[1].split()[0] or columns == 160
    assert table[1].split()[0].endswith("tion")
    assert table[-1].startswith("121 nodes")
    ends = {line.rstrip()[-2:] for line in table[2:-1]}
    assert ends <= {"kB", " B"}, "columns stand under each other"


def test_opaque_nodes_are_marked(capsys: Output) -> None:
    network = Sequential({"odd": Opaque("aten.cumsum.default", [{"input": 0}, 1]), "fc": Linear(3, 2)})
    network.meta["shape"] = [3]
    assert main(["info", saved(network)]) == 0
    printed = capsys.readouterr()
    odd = next(line for line in printed.out.splitlines() if line.startswith("odd"))
    assert odd.split()[1] == "!"
    assert odd.split()[2].startswith("Opaque('aten.cumsum")
    assert "?" in odd
    assert "! blockprop has no block of its own for 1 of the nodes" in printed.err
    found = run_json(capsys, "info", "net.safetensors")
    assert found["opaque"] == found["unknown_multiply_adds"] == ["odd"]


def test_without_a_shape_there_are_parameters(capsys: Output) -> None:
    network = saved(Sequential({"fc": Linear(3, 2), "relu": ReLU()}), "folder")
    assert main(["info", network]) == 0
    printed = capsys.readouterr()
    assert [line.split() for line in printed.out.splitlines()[-3:]] == [
        ["fc", "Linear(3,", "2)", "8"],
        ["relu", "ReLU()"],
        ["2", "nodes", "8"],
    ]
    assert "--shape 3,224,224" in printed.err
    found = run_json(capsys, "info", network)
    assert found["nodes"][0] == {"node": "fc", "block": "Linear(3, 2)", "parameters": 8}
    assert found["inputs"] == [{"name": "x", "shape": None, "free": None}]
    assert found["file_bytes"] == sum(file.stat().st_size for file in Path("folder").iterdir())
    found = run_json(capsys, "info", network, "--shape", "3")
    assert found["nodes"][0]["shapes"] == [[1, 2]]


def test_shapes_of_several_inputs_and_of_tables(capsys: Output) -> None:
    nodes = [
        Node("words", Embedding(10, 4), ("numbers",)),
        Node("fc", Linear(3, 4), ("x",)),
        Node("sum", Add(), ("words", "fc")),
    ]
    network = saved(Network(nodes, ("numbers", "x")))
    found = run_json(capsys, "info", network, "--shape", "5;5,3")
    assert [each["shape"] for each in found["inputs"]] == [[1, 5], [1, 5, 3]]
    assert found["outputs"] == [{"name": "sum", "shape": [1, 5, 4]}]
    assert "--shape: expected one for each of numbers, x" in sentence(capsys, "info", network, "--shape", "5")
    assert "such as 2,3,8,8" in sentence(capsys, "info", network, "--shape", "5;x")
    assert "node 'fc'" in sentence(capsys, "info", network, "--shape", "5;5,4")


def test_a_trained_network_knows_its_shape(capsys: Output) -> None:
    run_json(capsys, "train", "iris", "--network", "mlp:8", "--epochs", "1", "--out", "net.safetensors")
    found = run_json(capsys, "info", "net.safetensors")
    assert found["multiply_adds"] == 4 * 8 + 8 * 3
    assert found["classes"] == load("net.safetensors").meta["classes"]
    assert found["picture"] is None


def test_help_says_what_is_counted(capsys: Output) -> None:
    assert main(["info", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("blockprop info", "parameters", "mult-adds", "alive", "saved"):
        assert word in said
    assert main(["predict", "--help"]) == 0
    assert "blockprop predict squeezenet" in capsys.readouterr().out


def test_no_such_network(capsys: Output) -> None:
    assert "nothing.safetensors does not exist" in sentence(capsys, "info", "nothing.safetensors")
    Path("text.safetensors").write_text("text")
    assert "text.safetensors: expected a complete safetensors file" in sentence(capsys, "info", "text.safetensors")
