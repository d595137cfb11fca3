"""`blockprop train` going on from a network that has learned something else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blockprop.blocks import Conv2d, GlobalAvgPool, Linear, ReLU
from blockprop.cli import main
from blockprop.commands.units import in_words, with_units, without_units
from blockprop.data.dataset import Dataset
from blockprop.engine.about import About
from blockprop.engine.sequential import Sequential
from blockprop.networks.shipped import shipped
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.storage import load, save
from tests.commands.running import Output, run_json, sentence


@pytest.fixture
def kinds() -> str:
    """40 pictures of two kinds: upright and lying stripes, of any color."""
    generator = np.random.default_rng(0)
    for kind in ("lying", "upright"):
        folder = Path("stripes") / kind
        folder.mkdir(parents=True)
        for i in range(20):
            stripe = np.arange(48) // generator.integers(3, 6) % 2
            pixels = np.broadcast_to(stripe if kind == "upright" else stripe[:, None], (48, 48))[:40]
            colors = generator.integers(0, 255, (2, 3))
            Image.fromarray(colors[pixels].astype(np.uint8)).save(folder / f"{i}.png")
    return "stripes"


def test_a_network_that_comes_with_the_package_learns_two_other_kinds(kinds: str, capsys: Output) -> None:
    result = run_json(capsys, "train", kinds, "--network", "pictures", "--freeze", "all", "--test-fraction", "0.5")
    assert result["new_last_layer"] == "fc"
    assert result["frozen_up_to"] == "average"
    assert result["weights_trained"] == 2 * 224 + 2
    assert result["accuracy"] >= 0.9
    network, before = load("network.safetensors"), shipped("pictures")
    assert network.meta["classes"] == ["lying", "upright"]
    kept = [name for name in before.state if not name.startswith("fc.")]
    assert all(torch.equal(network.state[name], before.state[name]) for name in kept)
    assert run_json(capsys, "evaluate", "network.safetensors", kinds)["accuracy"] >= 0.9
    answer = run_json(capsys, "predict", "network.safetensors", "stripes/upright/3.png")
    assert answer["predictions"][0]["classes"][0]["class"] == "upright"


def test_an_imported_network_is_trained_on_what_it_expects_of_a_picture(kinds: str, capsys: Output) -> None:
    torch.manual_seed(0)
    meta = About(
        shape=[3, 24, 24],
        free={"x": [0, 2, 3]},
        preprocessing=Preprocessing(24, 255.0, (100, 110, 120), channels="BGR").to_dict(),
        classes=list("abcde"),
    )
    blocks = {"conv": Conv2d(3, 12, 5), "relu": ReLU(), "last": Conv2d(12, 5, 1), "pool": GlobalAvgPool()}
    net = Sequential(blocks)
    net.meta = meta
    save(net, "imported.safetensors")
    result = run_json(
        *(capsys, "train", kinds, "-n", "imported.safetensors", "--size", "32", "--epochs", "2", "--rate", "0.00001")
    )
    assert result["new_last_layer"] == "last"
    trained = load("network.safetensors")
    assert trained.meta["shape"] == [3, 32, 32]
    assert (trained.meta["picture"]["size"], trained.meta["picture"]["shorter_side"]) == ([32, 32], 36)
    assert trained.meta["picture"]["channels"] == "BGR"
    assert trained.meta["classes"] == ["lying", "upright"]


def test_the_same_classes_go_on_with_the_same_last_layer_in_its_order(kinds: str, capsys: Output) -> None:
    run_json(capsys, "train", kinds, "--network", "pictures", "--freeze", "all", "--rate", "0.02")
    net = load("network.safetensors")
    with torch.no_grad():
        for tensor in net.blocks["fc"].parameters.values():
            tensor.copy_(tensor.flip(0))
    net.meta["classes"] = net.meta["classes"][::-1]
    save(net, "turned.safetensors")
    result = run_json(
        capsys, "train", kinds, "--network", "turned.safetensors", "--epochs", "1", "--rate", "0", "--force"
    )
    assert "new_last_layer" not in result
    assert result["accuracy"] >= 0.85
    assert load("network.safetensors").meta["classes"] == ["upright", "lying"]


def test_find_rate_draws_a_curve_and_trains_nothing(capsys: Output) -> None:
    result = run_json(capsys, "train", "digits", "--network", "mlp:8", "--find-rate")
    assert 0 < result["rate"] < 10
    with Image.open(result["curve"]) as curve:
        assert curve.width > 400
    assert not Path("network.safetensors").exists()


def test_size_brings_arrays_to_a_size_and_says_so(capsys: Output) -> None:
    result = run_json(capsys, "train", "digits", "--network", "cnn", "--size", "16", "--epochs", "1")
    assert load("network.safetensors").meta["shape"] == [1, 16, 16]
    assert any("8 x 8 pixels" in note and "16 x 16" in note for note in result["notes"])
    tested = run_json(capsys, "evaluate", "network.safetensors", "digits")
    assert tested["accuracy"] == result["accuracy"]


def test_refused(kinds: str, capsys: Output) -> None:
    told = sentence(capsys, "train", kinds, "--network", "pictures", "--freeze", "nothing")
    assert "has no layer 'nothing'" in told
    told = sentence(capsys, "train", kinds, "--network", "pictures", "--size", "big")
    assert "expected a size" in told


def test_a_network_for_numbers_goes_on_with_much_larger_ones(capsys: Output) -> None:
    for name, factor in (("small", 3), ("large", 300)):
        Path(f"{name}.csv").write_text("x,y\n" + "".join(f"{i},{i * factor + 1}\n" for i in range(80)))
    run_json(capsys, "train", "small.csv", "--network", "mlp:8", "--epochs", "60", "--out", "small.safetensors")
    go_on = ["train", "large.csv", "--network", "small.safetensors", "--epochs", "60"]
    assert run_json(capsys, *go_on)["r_squared"] > 0.95
    assert run_json(capsys, *go_on, "--freeze", "all", "--force")["r_squared"] > 0.95


def test_what_a_network_predicts_stays_when_it_goes_on_in_other_units(capsys: Output) -> None:
    """An imported one has no units yet; a rate of nearly 0 shows where training starts."""
    x = torch.arange(50.0)[:, None]
    network = Sequential(Linear(1, 1))
    network.meta = About(shape=[1])
    for parameter, value in zip(network.parameters.values(), (3.0, 1000.0), strict=True):
        parameter.fill_(value)
    np.savez("numbers.npz", x=x.numpy(), y=(3.1 * x[:, 0] + 1000).numpy())
    for name in ("imported", "network"):
        save(network, f"{name}.safetensors")
        go_on = ["train", "numbers.npz", "--network", f"{name}.safetensors", "--epochs", "1", "--rate", "1e-9"]
        assert run_json(capsys, *go_on, "--force")["mae"] < 5
        network = load("network.safetensors")
        torch.testing.assert_close(network(x), 3 * x + 1000, atol=0.01, rtol=0)


def test_units_that_no_last_layer_can_take_over_are_named() -> None:
    data = Dataset(torch.randn(3, 1), torch.tensor([1.0, 2.0, 6.0]))
    network = with_units(Sequential(Linear(1, 1, with_bias=False)), ((2.0,), (5.0,)))
    rest, units = without_units(network, data, None)
    assert (rest.outputs, units) == (("linear1",), ((2.0,), (5.0,)))
    assert "targets less 5, divided by 2" in in_words(units, data)
    assert in_words(without_units(rest, data, None, learned=True)[1], data) == ""
    assert "mean 0 and variance 1" in in_words(without_units(rest, data, None)[1], data)


def test_what_was_held_out_before_is_held_out_again(capsys: Output) -> None:
    first = run_json(capsys, "train", "digits", "-n", "mlp:8", "--epochs", "1", "-o", "a.safetensors")
    more = ["--epochs", "1", "--rate", "0", "--seed", "7", "--test-fraction", "0.5"]
    assert main(["train", "digits", "-n", "a.safetensors", *more, "-o", "b.safetensors"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "what is kept back to test is what was kept back then (a share of 0.2, by the seed 0)" in said
    assert load("b.safetensors").meta["held_out"] == load("a.safetensors").meta["held_out"]
    assert run_json(capsys, "evaluate", "b.safetensors", "digits")["loss"] == pytest.approx(first["test_loss"])
