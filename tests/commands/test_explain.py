"""`blockprop explain`: on the lecture's network, on trained and shipped ones, and what is not understood."""

from pathlib import Path

import pytest

from blockprop.blocks import Linear, Tanh
from blockprop.cli import main
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.engine.sequential import Sequential
from blockprop.saving.storage import save
from tests.commands.running import Output, run_json, sentence


def test_the_lecture(capsys: Output) -> None:
    assert main(["explain", "lecture:relu", "--of", "x[1]"]) == 0
    printed = capsys.readouterr().out
    assert "∂L/∂y₂ = ∂L/∂z₁ u₁₂ + ∂L/∂z₂ u₂₂ = −0.5 · (−1) + 0.5 · 0.5 = 0.75" in printed
    found = run_json(capsys, "explain", "lecture", "--of", "fc1.weight[1,0]")
    assert found["derivative"] == pytest.approx(found["sweep"], abs=1e-15)
    assert found["derivative"] == pytest.approx(0.1753, abs=5e-5)


def test_with_numbers_of_ones_own(capsys: Output) -> None:
    given = run_json(capsys, "explain", "lecture:relu", "--of", "x[0]", "--input", "1,2", "--label", "0")
    assert given["derivative"] == -7 / 8
    other = run_json(capsys, "explain", "lecture:relu", "--of", "x[0]", "--input", "1,2", "--label", "second")
    assert other["derivative"] == 7 / 8  # r̂ is (1/2, 1/2), so the error has the other sign
    both = run_json(capsys, "explain", "mlp:3", "--of", "fc1.weight[0,1]", "--input", "1,2,-1", "--label", "0.5,1")
    assert "mean_squared_error" in both["text"]


@pytest.mark.parametrize("suffix", ["txt", "tex", "html"])
def test_files(capsys: Output, suffix: str) -> None:
    found = run_json(capsys, "explain", "lecture", "--of", "fc1.bias[2]", "-o", f"derivative.{suffix}")
    text = Path(found["written"]).read_text()
    sign = {"txt": "∂L/∂b₃", "tex": r"\frac{\partial L}{\partial b_{3}}", "html": "<msub><mi>b</mi><mn>3</mn></msub>"}
    assert sign[suffix] in text


def test_a_shipped_network_on_digits(capsys: Output) -> None:
    found = run_json(
        capsys, "explain", "digits", "--of", "conv1_1.weight[0,0,1,1]", "--data", "digits", "--example", "3"
    )
    assert found["derivative"] == pytest.approx(found["sweep"], rel=1e-9)
    assert "the transposed convolution" in found["text"]
    labeled = run_json(
        capsys,
        "explain",
        "digits",
        "--of",
        "conv1_1.weight[0,0,1,1]",
        "--example",
        "3",
        "--label",
        "7",
        "--data",
        "digits",
    )
    assert labeled["derivative"] != found["derivative"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lecture", "--of", ""), "--of has nothing in it"),
        (("lecture", "--of", "  "), "--of has nothing in it"),
        (("lecture", "--node", ""), "--node has nothing in it"),
        (("lecture", "--loss", ""), "--loss has nothing in it"),
        (("lecture", "--label", ""), "--label has nothing in it"),
        (("",), "NETWORK has nothing in it"),
        (("lecture", "--of", "fc1.weight[9,9]"), "fc1.weight is 3 x 2"),
        (("lecture", "--input", "1,2,3"), "the network takes 2 numbers, 3 came"),
        (("lecture", "--input", "1,b"), "expected numbers with commas between"),
        (("lecture", "--label", "3"), "expected a class from 0 to 1, or one of first, second"),
        (("lecture", "--data", "digits", "--input", "1,2"), "give one of the two"),
        (("mlp:3", "--input", "1,2"), "--label"),
        (("mlp:3", "--data", "digits", "--example", "99999"), "examples, from 0 to"),
        (("lecture:tan",), "did you mean 'tanh'"),
        (("lecture", "-o", "derivative.pdf"), "expected a name that ends in .txt, .tex, .html"),
        (("lecture", "--by", "letters"), "by must be one of"),
    ],
)
def test_what_is_not_understood_is_said(capsys: Output, arguments: tuple[str, ...], said: str) -> None:
    assert said in sentence(capsys, "explain", *arguments)


def test_a_loss_that_is_chosen(capsys: Output) -> None:
    asked = ("explain", "lecture:relu", "--of", "fc2.bias[0]")
    as_numbers = run_json(capsys, *asked, "--loss", "mean_squared_error", "--label", "1,0")
    assert as_numbers["derivative"] == 2.5 - 1  # 2 (z₁ − r₁) / 2, and z₁ = 5/2
    assert run_json(capsys, *asked, "--loss", "mean_squared_error")["derivative"] == 2.5 - 1  # its class as numbers
    assert run_json(capsys, *asked, "--loss", "huber", "--label", "second")["derivative"] == 0.5
    inner = ("explain", "lecture:relu", "--of", "fc1.weight[1,0]", "--loss", "mean_squared_error", "--node", "fc1")
    assert run_json(capsys, *inner, "--label", "0,0,0")["derivative"] == pytest.approx(-2 / 3)


def test_several_outputs(capsys: Output) -> None:
    nodes = [Node("fc", Linear(2, 3), ("x",)), Node("y", Tanh(), ("fc",)), Node("z", Linear(3, 2), ("fc",))]
    save(Network(nodes), "two.safetensors")
    asked = ("explain", "two.safetensors", "--input", "1,-1", "--of", "fc.weight[2,1]")
    y = run_json(capsys, *asked, "--node", "y", "--label", "0.1,0.2,0.3")
    assert y["derivative"] == pytest.approx(y["sweep"], abs=1e-15)
    z = run_json(capsys, *asked, "--node", "z", "--label", "1")
    assert "cross_entropy" in z["text"]
    assert "the network has the outputs y and z: --node says" in sentence(capsys, *asked, "--label", "1")
    assert "'w'" in sentence(capsys, *asked, "--label", "1", "--node", "w")
    assert "expected a class from 0 to 2" in sentence(capsys, *asked, "--label", "3", "--node", "y")


def test_a_label_for_a_network_by_name(capsys: Output) -> None:
    found = run_json(capsys, "explain", "mlp:3", "--data", "digits", "--label", "3", "--of", "fc1.weight[0,20]")
    assert found["derivative"] == pytest.approx(found["sweep"], abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--loss", "squared"), "there is no loss 'squared'"),
        (("--loss", "mean_squared_error", "--label", "1,2,3"), "must have the same shape"),
        (("--loss", "mean_squared_error", "--label", "a,b"), "expected numbers with commas between"),
        (("--loss", "huber", "--label", "third"), "expected a class from 0 to 1, or one of first, second"),
        (("--node", "fc3"), "fc3"),
    ],
)
def test_losses_that_cannot_be_had(capsys: Output, arguments: tuple[str, ...], said: str) -> None:
    assert said in sentence(capsys, "explain", "lecture", "--of", "x[0]", *arguments)


def test_a_class_whose_name_has_a_comma_is_a_class(capsys: Output) -> None:
    network = Sequential(Linear(2, 2))
    network.meta.update(classes=["hen, female", "cock"], shape=[2])
    save(network, "birds.safetensors")
    asked = ("explain", "birds.safetensors", "--of", "linear1.bias[0]", "--input", "1,2", "--label")
    by_name, by_number = (run_json(capsys, *asked, label)["derivative"] for label in ("hen, female", "0"))
    assert by_name == by_number
