"""`blockprop import`: from a torch module in a Python file, an ONNX file, published weights; then predict and info."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from blockprop.cli import main
from blockprop.networks.fetching import cache_folder
from blockprop.networks.published import PUBLISHED
from blockprop.saving.storage import load
from tests.commands.running import Output, run_json, sentence
from tests.conftest import DataFile

MODULE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = self.relu(self.conv(x))
        return self.fc(self.drop(x.mean((2, 3))))


def build():
    torch.manual_seed(0)
    return Net()


def strange():
    class Strange(Net):
        def forward(self, x):
            return torch.fft.rfft(super().forward(torch.linalg.inv(x))).real
    return Strange()


def searched():
    class Searched(Net):
        def forward(self, x):
            return torch.searchsorted(torch.arange(3.0), super().forward(x)) * super().forward(x)
    return Searched()


def number():
    return 3
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLOCKPROP_CACHE", str(tmp_path / "cache"))
    Path("nets.py").write_text(MODULE)


def onnx_file(name: str = "mean.onnx") -> str:
    """Scores of red and blue: an ONNX model that takes any batch and size."""
    weight = numpy_helper.from_array(torch.tensor([[1.0, 0, 0], [0, 0, 1]]).numpy(), "weight")
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["scores"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    y = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])
    graph = helper.make_graph(nodes, "mean", [x], [y], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), name)
    return name


def test_a_module_from_a_python_file(capsys: Output) -> None:
    found = run_json(capsys, "import", "nets.py", "--shape", "3,8,8", "-o", "net.safetensors")
    network = load("net.safetensors")
    assert found["nodes"] == len(network.nodes) == 5
    assert [node.name for node in network.nodes] == ["conv", "relu", "mean", "drop", "fc"]
    assert found["parameters"] == 3 * 4 * 9 + 4 + 4 * 2 + 2
    assert network(torch.zeros(5, 3, 6, 9)).shape == (5, 2)
    assert network.meta["free"] == {"x": [0, 2, 3]}


def test_a_folder_makes_way_by_force(capsys: Output) -> None:
    for _ in range(2):
        assert run_json(capsys, "import", "nets.py", "--shape", "3,8,8", "-o", "net", "--force")["network"] == "net"
    assert len(load("net").nodes) == 5


def test_an_onnx_file_with_what_it_expects_beside_it(capsys: Output) -> None:
    onnx_file()
    Path("mean.toml").write_text('size = 8\nrange = 255\nmean = [1, 2, 3]\nchannels = "RGB"\nclasses = "names.txt"\n')
    Path("names.txt").write_text("red\nblue\n")
    run_json(capsys, "import", "mean.onnx", "-o", "net.safetensors")
    Image.new("RGB", (20, 12), (0, 0, 255)).save("sky.png")
    found = run_json(capsys, "predict", "net.safetensors", "sky.png")
    best = found["predictions"][0]["classes"][0]
    assert best["class"] == "blue"
    assert best["probability"] > 0.99
    info = run_json(capsys, "info", "net.safetensors")
    assert info["parameters"] == 6
    assert info["inputs"][0]["free"] == [0, 2, 3]
    assert "onnx" in info["from"]


def test_the_settings_may_stand_elsewhere(capsys: Output) -> None:
    onnx_file()
    Path("settings.json").write_text(json.dumps({"size": 8, "range": 2.0}))
    Path("classes.txt").write_text("red\nblue\n")
    options = ("--preprocessing", "settings.json", "--classes", "classes.txt")
    run_json(capsys, "import", "mean.onnx", "-o", "net", *options)
    network = load("net")
    assert network.meta["classes"] == ["red", "blue"]
    torch.testing.assert_close(network(torch.full((1, 3, 8, 8), 0.5)), torch.tensor([[1.0, 1.0]]))


def mode_file(name: str = "mode.onnx") -> str:
    """A batch of one in a reshape, and a flag that says whether to rectify."""
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 3] x, bool rectify) => (float[1, 3] y) {
        s = Constant<value = int64[2] {1, 3}>()
        row = Reshape(x, s)
        y = If(rectify) <
            then_branch = t () => (float[1, 3] u) { u = Relu(row) },
            else_branch = e () => (float[1, 3] o) { o = Identity(row) }
        >
    }"""
    onnx.save(onnx.parser.parse_model(text), name)
    return name


def test_an_input_of_an_onnx_file_becomes_a_constant(capsys: Output) -> None:
    assert main(["import", mode_file(), "-o", "net.safetensors"]) == 1
    assert "from the input 'rectify'; --constant rectify=… settles it" in (capsys.readouterr().err)
    run_json(capsys, "import", "mode.onnx", "-o", "net.safetensors", "--constant", "rectify=true")
    network = load("net.safetensors")
    assert network(torch.tensor([[-1.0, 0.0, 2.0]])).tolist() == [[0.0, 0.0, 2.0]]
    np.save("flag.npy", np.array(False))
    run_json(capsys, "import", "mode.onnx", "-o", "net.safetensors", "--constant", "rectify=flag.npy", "--force")
    assert load("net.safetensors")(torch.tensor([[-1.0, 0.0, 2.0]])).tolist() == [[-1.0, 0.0, 2.0]]
    for text, reason in (
        ("rectify", "expected name=value"),
        ("rectify=maybe", "expected numbers, true, false or an .npy file, came 'maybe'"),
        ("rectify=lost.npy", "expected a readable .npy file"),
        ("rectifies=true", "no input 'rectifies' to be constant; did you mean 'rectify'"),
    ):
        assert reason in sentence(capsys, "import", "mode.onnx", "-o", "net.safetensors", "--constant", text)
    assert "--constant is for inputs of ONNX files" in sentence(
        capsys, "import", "nets.py", "--shape", "3,8,8", "-o", "net.safetensors", "--constant", "a=1"
    )


def test_a_size_that_the_network_keeps_to_is_said(capsys: Output) -> None:
    found = run_json(capsys, "import", mode_file(), "-o", "net.safetensors", "--constant", "rectify=1")
    (note,) = found["notes"]
    assert note.startswith("'n' (axis 0 of 'x') is fixed at 1: with other sizes, 'row' (Reshape)")
    assert run_json(capsys, "info", "net.safetensors")["notes"] == [note]


def test_the_shape_of_an_onnx_files_input(capsys: Output) -> None:
    run_json(capsys, "import", onnx_file(), "-o", "net.safetensors", "--shape", "3,20,30")
    network = load("net.safetensors")
    assert network.meta["shape"] == [3, 20, 30]
    assert network.meta["free"] == {"x": [0, 2, 3]}
    assert "axis 1 of 'x' is 3 in the file, came 4" in sentence(
        capsys, "import", "mean.onnx", "-o", "net.safetensors", "--shape", "4,20,30"
    )


def test_published_weights(capsys: Output, data_file: DataFile) -> None:
    weights, names = data_file("weights/squeezenet1_1.safetensors"), data_file("imagenet_classes.txt")
    run_json(capsys, "import", "squeezenet1_1", "--weights", str(weights), "--classes", str(names), "-o", "net")
    found = run_json(capsys, "predict", "net", str(data_file("photos/n01855672_goose.jpg")))
    assert found["predictions"][0]["classes"][0]["class"] == "goose"
    assert len(found["predictions"][0]["classes"]) == 5
    vgg = data_file("weights/vgg19_normalised_conv3_1.safetensors")
    run_json(capsys, "import", "vgg19", "--weights", str(vgg), "--until", "conv2_1", "-o", "vgg")
    assert load("vgg").outputs == ("conv2_1",)


def test_wrong_use_writes_nothing(capsys: Output) -> None:
    onnx_file()
    Path("torch.pth").write_bytes(b"anything")
    Path("weights.safetensors").write_bytes(b"anything")
    Path("broken.onnx").write_bytes(Path("mean.onnx").read_bytes()[:-30])
    Path("bad.json").write_text('{"sise": 8}')
    cases = {
        ("nothing",): "no such file",
        ("squeezenet1",): "squeezenet1_1",
        ("resnet20_cifar10",): "--weights",
        ("torch.pth",): "pickled",
        ("weights.safetensors",): "--weights weights.safetensors",
        ("broken.onnx",): "broken.onnx",
        ("nets.py",): "--shape",
        ("nets.py:number", "--shape", "3,8,8"): "returned a int",
        ("nets.py:missing", "--shape", "3,8,8"): "missing",
        ("nets.py", "--shape", "4,8,8"): "refuses the example",
        ("mean.onnx", "--preprocessing", "bad.json"): "did you mean 'size'",
        ("mean.onnx", "--classes", "absent.txt"): "absent.txt",
        ("squeezenet1_1", "--weights", "mean.onnx"): "safetensors",
        ("wrong", "--fetch"): "published",
    }
    for arguments, words in cases.items():
        assert words in sentence(capsys, "import", *arguments, "-o", "net.safetensors"), arguments
        assert not Path("net.safetensors").exists()


def test_an_operator_without_a_block(capsys: Output) -> None:
    from blockprop.cli import main

    arguments = ["import", "nets.py:searched", "--shape", "3,8,8", "-o", "net.safetensors"]
    assert main(arguments) == 1
    printed = capsys.readouterr().err
    assert "searchsorted" in printed
    assert "nets.py:" in printed
    assert "opaque" in printed
    assert not Path("net.safetensors").exists()


def test_opaque_operators_are_said(capsys: Output) -> None:
    found = run_json(capsys, "import", "nets.py:searched", "--shape", "3,8,8", "--opaque", "-o", "net.safetensors")
    assert found["opaque"] == ["searchsorted"]
    assert run_json(capsys, "info", "net.safetensors", "--opaque")["opaque"] == ["searchsorted"]


def test_nothing_is_fetched_unless_asked(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("blockprop.networks.fetching.fetch_published", refuse)
    found = sentence(capsys, "import", "resnet18", "-o", "net.safetensors")
    assert "--fetch" in found
    assert PUBLISHED["resnet18"].url in found
    assert str(cache_folder() / PUBLISHED["resnet18"].file) in found
