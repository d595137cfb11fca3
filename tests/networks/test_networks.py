"""Networks by name, from Python files and from saved ones: their shapes, weights and errors."""

import math
from pathlib import Path

import pytest
import torch

from blockprop.blocks import Linear
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.errors import FormatError, SettingError
from blockprop.networks.build import build_network
from blockprop.saving.storage import save

GRAY, COLOR = (1, 28, 28), (3, 32, 32)


def names(network: Network) -> list[str]:
    return [node.name for node in network.nodes]


def test_mlp() -> None:
    network = build_network("mlp:5,3", (4,), 2)
    assert names(network) == ["fc1", "relu1", "fc2", "relu2", "fc3"]
    assert [tuple(p.shape) for p in network.parameters.values()] == [(5, 4), (5,), (3, 5), (3,), (2, 3), (2,)]
    assert network.meta == {"shape": [4], "spec": "mlp:5,3"}
    assert names(build_network("mlp", GRAY, 10)) == ["flatten", "fc1", "relu1", "fc2", "relu2", "fc3"]
    assert build_network("mlp", GRAY, 10).parameters["fc1.weight"].shape == (128, 784)
    assert build_network("mlp:7", GRAY, 10)(torch.rand(3, *GRAY)).shape == (3, 10)


def test_lenet() -> None:
    network = build_network("lenet", GRAY, 10)
    assert names(network) == [
        *("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten"),
        *("fc1", "relu3", "fc2", "relu4", "fc3"),
    ]
    # 6·25+6, 16·150+16, 400·120+120, 120·84+84, 84·10+10: LeCun's C3 leaves some connections out, this one none
    assert sum(p.numel() for p in network.parameters.values()) == 156 + 2416 + 48120 + 10164 + 850
    for shape in ((1, 16, 16), (3, 17, 40), COLOR):
        assert build_network("lenet", shape, 4)(torch.rand(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 9, 15), GRAY, COLOR, (3, 64, 48), (3, 95, 95), (3, 97, 130), (3, 224, 224)]
)
def test_cnn_adapts_to_the_size(shape: tuple[int, ...]) -> None:
    network = build_network("cnn", shape, 7)
    trace = network.forward(torch.rand(2, *shape), training=True)
    assert trace.output.shape == (2, 7)
    last = trace[[name for name in names(network) if name.startswith("conv")][-1]]
    assert min(last.shape[2:]) < 8
    assert sum(p.numel() for p in network.parameters.values()) < 2_500_000


def test_cnn_has_readable_names() -> None:
    assert names(build_network("cnn", GRAY, 10)) == [
        *("conv1", "batchnorm1", "relu1", "pool1"),
        *("conv2", "batchnorm2", "relu2", "conv3", "batchnorm3", "relu3", "pool2"),
        *("conv4", "batchnorm4", "relu4", "flatten", "dropout", "fc"),
    ]


def test_stages_take_pictures_of_any_size() -> None:
    network = build_network("stages:4,6,8", COLOR, 5)
    assert [name for name in names(network) if name[:4] in ("scal", "stag", "pool", "aver")] == [
        *("scale", "stage1", "pool1", "stage2", "pool2", "stage3", "average"),
    ]
    # 3 x 3 weights of (3→4, 4→4), (4→6, 6→6), 6→8; two numbers of batch norm a channel; and 8·5 + 5
    assert sum(p.numel() for p in network.parameters.values()) == 9 * (12 + 16 + 24 + 36 + 48) + 2 * 28 + 45
    for size in ((4, 4), (32, 32), (33, 50)):
        trace = network.forward(torch.rand(2, 3, *size))
        assert trace.output.shape == (2, 5)
    assert trace["stage3"].shape == (2, 8, 8, 12)
    assert torch.equal(trace["stage1"], trace["relu1_1"] + trace["relu1_2"])
    with pytest.raises(SettingError, match="from 4 x 4 up"):
        build_network("stages:4,6,8", (3, 3, 9), 5)
    with pytest.raises(SettingError, match="expected widths such as stages:128,64"):
        build_network("stages:a", COLOR, 5)


@pytest.mark.parametrize("spec", ["mlp", "lenet", "cnn", "stages"])
def test_weights_depend_on_the_seed_alone(spec: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (build_network(spec, GRAY, 10, seed).state for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name])
        assert torch.isfinite(tensor.float()).all()
    assert not any(
        torch.equal(t, other[name]) for name, t in first.items() if name.endswith(("conv1.weight", "fc1.weight"))
    )


@pytest.mark.parametrize("spec", ["mlp", "lenet", "cnn", "stages"])
def test_the_first_outputs_are_neither_tiny_nor_huge(spec: str) -> None:
    x = torch.randn(64, *GRAY, generator=torch.Generator().manual_seed(0))
    spread = build_network(spec, GRAY, 10).forward(x, training=True).output.std().item()
    assert 0.1 < spread < 10


@pytest.mark.parametrize("spec", ["mlp", "lenet", "cnn", "stages"])
def test_named_networks_can_be_saved_and_named_by_their_file(spec: str, tmp_path: Path) -> None:
    network = build_network(spec, GRAY, 10, seed=5)
    network.meta["classes"] = list("0123456789")
    save(network, tmp_path / "net.safetensors")
    loaded = build_network(tmp_path / "net.safetensors", GRAY, 10)
    assert repr(loaded).split("\n")[1:] == repr(network).split("\n")[1:]
    assert loaded.meta == {"shape": [1, 28, 28], "spec": spec, "classes": list("0123456789")}
    x = torch.rand(2, *GRAY)
    assert torch.equal(loaded(x), network(x))


def test_a_saved_network_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(build_network("mlp:4", (3,), 2).to(dtype=torch.float64), path)
    assert build_network(path, (3,), 2).parameters["fc1.weight"].dtype == torch.float64
    with pytest.raises(SettingError, match=r"net\.safetensors: expected 5 outputs .* gives \(2,\)"):
        build_network(path, (3,), 5)
    with pytest.raises(
        SettingError, match=r"net\.safetensors: the network cannot take examples of shape \(4,\).*'fc1'"
    ):
        build_network(path, (4,), 2)
    save(Network([Node("a", Linear(3, 2), ("x",)), Node("b", Linear(3, 2), ("x",))]), path)
    with pytest.raises(SettingError, match="one input and one output, this one has 1 inputs and 2 outputs"):
        build_network(path, (3,), 2)
    path.write_bytes(b"broken")
    with pytest.raises(FormatError, match=r"net\.safetensors"):
        build_network(path, (3,), 2)


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (
            "mpl",
            (4,),
            "path of a saved network; did you mean 'mlp'",
        ),
        ("mlp:", (0,), "shape of positive sizes"),
        ("mlp:12,", (4,), "expected widths such as mlp:128,64 .* got 'mlp:12,'"),
        ("mlp:0", (4,), "expected widths"),
        ("mlp:9999999", (4,), "expected widths"),
        ("lenet:3", GRAY, "lenet takes no settings, got 'lenet:3'"),
        ("lenet", (1, 15, 28), r"lenet takes pictures .* from 16 x 16 up, got \(1, 15, 28\); mlp takes any"),
        ("cnn", (1, 7, 7), r"cnn takes pictures .* from 8 x 8 up"),
        ("cnn", (4,), r"cnn takes pictures \(channels, height, width\) .*got \(4,\)"),
        ("no/such/net.safetensors", (4,), "neither a network's name nor a file"),
        ("no_such.py:build", (4,), r"the file no_such\.py does not exist"),
    ],
)
def test_specs_that_cannot_be_understood(spec: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        build_network(spec, shape, 2)
    with pytest.raises(SettingError, match="at least one output"):
        build_network("mlp", (4,), 0)


CODE = """
from dataclasses import dataclass
import torch
from blockprop.blocks import Linear
from blockprop import Sequential

@dataclass
class Settings:
    width: int = 3

def build(shape, outputs):
    return Sequential(Linear(shape[0], outputs))

def other(shape, outputs):
    {body}
"""


def write(tmp_path: Path, body: str = "return 3") -> str:
    (tmp_path / "my_net.py").write_text(CODE.format(body=body))
    return str(tmp_path / "my_net.py")


def test_a_function_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "net = build(shape, outputs); net.meta['note'] = 'mine'; return net")
    for spec in (f"{path}:build", path):
        assert names(build_network(spec, (4,), 2)) == ["linear1"]
    network = build_network(f"{path}:other", (4,), 2, seed=3)
    assert network.meta == {"shape": [4], "spec": "my_net.py:other", "note": "mine"}
    assert type(network) is Sequential
    monkeypatch.chdir(tmp_path)
    again = build_network("my_net.py:other", (4,), 2, seed=3)
    assert torch.equal(again.parameters["linear1.weight"], network.parameters["linear1.weight"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", r"my_net\.py:other: expected the function to return a Network, it returned a int"),
        ("return 1 / 0", r"my_net\.py, line 15: ZeroDivisionError: division by zero"),
        ("raise SystemExit('stop')", r"my_net\.py, line 15: SystemExit: stop"),
        ("return Linear(0, -1)", r"my_net\.py, line 15: "),
        ("return build(shape", r"my_net\.py, line 15: SyntaxError"),
        ("import no_such_module", r"my_net\.py, line 15: ModuleNotFoundError: No module named 'no_such_module'"),
        ("return build(shape, outputs + 1)", r"my_net\.py:other: expected 2 outputs for each example, .* \(3,\)"),
        ("return build((9,), outputs)", r"my_net\.py:other: the network cannot take examples of shape \(4,\)"),
    ],
)
def test_a_file_s_mistakes_are_located(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    write(tmp_path, body)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=message):
        build_network("my_net.py:other", (4,), 2)


def test_functions_that_do_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(SettingError, match=r"expected a function nothing\(shape, outputs\), there is none"):
        build_network(f"{path}:nothing", (4,), 2)
    (tmp_path / "one.py").write_text("def build(shape): return shape\n")
    with pytest.raises(SettingError, match=r"one\.py: build\(\(4,\), 2\): TypeError: build\(\) takes 1 positional"):
        build_network(str(tmp_path / "one.py"), (4,), 2)


def test_cnn_costs_little() -> None:
    """Multiplications of one forward pass over a 28 x 28 picture: what makes an epoch on two cores bearable."""
    network = build_network("cnn", GRAY, 10)
    trace = network.forward(torch.rand(1, *GRAY))
    convolutions = [name for name in names(network) if name.startswith("conv")]
    count = sum(
        math.prod(trace[name].shape[2:]) * network.parameters[f"{name}.weight"].numel() for name in convolutions
    )
    assert count < 16_000_000
