"""`blockprop info`: facts and costs of a network, for programs and for people."""

from pathlib import Path

import pytest

from blockprop.blocks import Add, Conv2d, Embedding, GlobalAvgPool, Linear, ReLU
from blockprop.cli import main
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.interop.opaque import Opaque
from blockprop.native.library import status
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load
from tests.commands.running import SEES, Output, run_json, saved, sentence


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
    assert found["native"] == status()
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
    assert f"\nkernels  native: {status()[:20]}" in text
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
    assert main(["info", saved(network), "--opaque"]) == 0
    printed = capsys.readouterr()
    odd = next(line for line in printed.out.splitlines() if line.startswith("odd"))
    assert odd.split()[1] == "!"
    assert odd.split()[2].startswith("Opaque('aten.cumsum")
    assert "?" in odd
    assert "! blockprop has no block of its own for 1 of the nodes" in printed.err
    found = run_json(capsys, "info", "net.safetensors", "--opaque")
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
