"""What is looked at: every way to say it, its value and its seed, and what is said about names that do not exist."""

import contextlib
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from blockprop import Network, Sequential, check_objective
from blockprop.blocks import Conv2d, Flatten, GlobalAvgPool, Linear, LogSoftmax, ReLU, Reshape, Softmax, Unsqueeze
from blockprop.engine.objectives import Objective, cross_entropy
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropWarning, GraphError, SettingError, ShapeError
from blockprop.visualize import saliency, sanity
from blockprop.visualize.objectives.scores import fixed, score, scores_node, titles, values

CLASSES = ["goose", "red fox, Vulpes vulpes", "kit fox", "crane", "crane", "mongoose"]


def network(*ends: object) -> Network:
    chain = Sequential(Conv2d(3, 4, 3), ReLU(), GlobalAvgPool(), Linear(4, 6), *ends)
    return Network(chain.nodes, meta={"classes": CLASSES})


def evaluated(target: object, y: Tensor, net: Network | None = None) -> tuple[float, Tensor]:
    objective = score(net or network(), target)
    value, seeds = objective.evaluate(dict.fromkeys(objective.nodes, y))
    return float(value), seeds[objective.nodes[0]]


SCORES = torch.tensor([[1.0, 2, 3, 4, 5, 0], [9.0, 8, 7, 6, 5, 4]])


@pytest.mark.parametrize("target", [2, "2", "kit fox", "KIT FOX", "kit", torch.tensor(2)], ids=repr)
def test_a_class_by_number_and_by_name(target: object) -> None:
    value, seed = evaluated(target, SCORES)
    assert value == 10
    assert seed.tolist() == [[0, 0, 1, 0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("name", "number"),
    [("goose", 0), ("red fox", 1), ("vulpes vulpes", 1), ("kit fox", 2), ("mongoose", 5), ("ngo", 5)],
)
def test_names_of_classes(name: str, number: int) -> None:
    assert evaluated(name, SCORES)[1][0].argmax() == number
    assert titles(score(network(), name), 1) == [CLASSES[number]]


def test_top_is_each_examples_own_and_decided_when_evaluated() -> None:
    value, seed = evaluated("top", SCORES)
    assert value == 14
    assert seed.tolist() == [[0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0]]
    value, seed = evaluated("top3", SCORES)
    assert value == 12 + 24
    assert seed.sum(1).tolist() == [3, 3]
    objective = score(network(), "top2")
    decided = fixed(objective, {"linear1": SCORES})
    assert titles(decided, 2) == ["crane + crane", "goose + red fox, Vulpes vulpes"]
    assert float(decided.evaluate({"linear1": SCORES.flip(1)})[0]) == (2 + 3) + (4 + 5)
    with pytest.raises(ShapeError, match="expected a class for each of 1 pictures, came 2"):
        decided.evaluate({"linear1": SCORES[:1]})


def test_nodes_channels_and_units() -> None:
    y = torch.arange(48.0).view(2, 4, 2, 3)
    assert evaluated("relu1", y)[0] == pytest.approx(y[0].mean() + y[1].mean())
    assert evaluated("relu1:3", y)[0] == pytest.approx(y[0, 3].mean() + y[1, 3].mean())
    value, seed = evaluated("relu1:3,1,2", y)
    assert value == y[:, 3, 1, 2].sum()
    assert seed.nonzero().tolist() == [[0, 3, 1, 2], [1, 3, 1, 2]]
    assert evaluated("linear1:1", SCORES)[0] == 10


def test_directions() -> None:
    y = torch.randn(2, 4, 2, 3)
    direction = torch.randn(4)
    expected = torch.einsum("nchw,c->n", y, direction) / 6
    assert evaluated(("relu1", direction), y)[0] == pytest.approx(float(expected.sum()), rel=1e-5)
    whole = torch.randn(4, 2, 3)
    assert evaluated(("relu1", whole), y)[0] == pytest.approx(float((y * whole).sum()), rel=1e-5)
    with pytest.raises(SettingError, match="gives 4 x 2 x 3 for an example; a direction of 5 does not fit"):
        evaluated(("relu1", torch.ones(5)), y)


def test_several_and_weighted() -> None:
    assert evaluated(["goose", "kit fox"], SCORES)[0] == 20
    assert evaluated({"goose": 1.0, "kit fox": -0.5}, SCORES)[0] == 10 - 5
    net = network()
    objective = 2 * score(net, "goose") - score(net, "linear1:1")
    assert float(objective.evaluate({"linear1": SCORES})[0]) == 20 - 10
    assert repr(objective) == "2 * score('goose') + -1 * score('linear1:1')"
    assert titles(objective, 2) == ["2 * goose + -1 * linear1:1"] * 2
    assert values(objective, {"linear1": SCORES}).tolist() == [0, 10]


@pytest.mark.parametrize("target", ["top", "goose", "linear1", "linear1:2", ("linear1", torch.arange(6.0).double())])
def test_seeds_equal_finite_differences(target: object) -> None:
    check_objective(score(network(), target), {"linear1": SCORES.double()}).verify()


def test_values_of_each_example() -> None:
    assert values(score(network(), "top"), {"linear1": SCORES}).tolist() == [5, 9]

    class Squares(Objective):
        def evaluate(self, outputs: object, target: object = None) -> tuple[Tensor, dict[str, Tensor]]:
            (y,) = outputs.values()
            return y.square().sum(), {"linear1": 2 * y}

    assert values(Squares(), {"linear1": SCORES}).tolist() == SCORES.square().sum(1).tolist()
    assert score(network(), cross := cross_entropy()) is cross


@pytest.mark.parametrize(
    "ends",
    [
        (Softmax(),),
        (LogSoftmax(),),
        (Softmax(), Reshape((3, 2)), Flatten()),
        (Softmax(), Unsqueeze(2)),
    ],
    ids=str,
)
def test_scores_are_read_before_softmax(ends: tuple[object, ...]) -> None:
    assert scores_node(network(*ends)) == "linear1"


def test_without_softmax_the_output_is_read() -> None:
    assert scores_node(network()) == "linear1"
    assert scores_node(network(Reshape((3, 2)))) == "reshape1"


@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (1, 6), (1, 1, 6), (6, 2, 2)], ids=str)
def test_the_class_axis(shape: tuple[int, ...]) -> None:
    y = torch.randn(3, *shape)
    expected = y.flatten(1) if y[0].numel() == 6 else y.mean((2, 3))
    assert evaluated("kit fox", y)[0] == pytest.approx(float(expected[:, 2].sum()), rel=1e-5)
    assert evaluated("top", y)[0] == pytest.approx(float(expected.amax(1).sum()), rel=1e-5)


def test_several_outputs_need_a_choice() -> None:
    nodes = [Node("a", Linear(2, 3), ("x",)), Node("b", Linear(2, 3), ("x",))]
    with pytest.raises(SettingError, match=r"2 outputs \(a, b\); say which one"):
        score(Network(nodes), "top")
    assert score(Network(nodes), 2, output="b").nodes == ("b",)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "goosee",
            r"no class and no node 'goosee'; its classes are .*goose.* tells its nodes; did you mean 'goose'\?",
        ),
        ("fox", r"'fox' fits 2 classes: 'red fox, Vulpes vulpes' \(1\), 'kit fox' \(2\)"),
        ("crane", r"'crane' fits 2 classes: 'crane' \(3\), 'crane' \(4\)"),
        ("linear9", "did you mean 'linear1'"),
        ("relu2:1", "no node 'relu2'; its nodes are .*; did you mean 'relu1'"),
        ("relu1:one", "expected node:channel or node:channel,y,x"),
        (6, r"6 classes, 0…5; there is no class 6"),
        (-1, "there is no class -1"),
        ("", "there is no class and no node ''"),
        ("top0", "expected top1, top2"),
        ((), "expected a class, a node"),
        (1.5, "expected a class, a node"),
        (True, "expected a class, a node"),
        (("relu7", torch.ones(2)), "no node 'relu7'"),
    ],
    ids=repr,
)
def test_what_does_not_exist(target: object, message: str) -> None:
    with pytest.raises((SettingError, GraphError), match=message):
        score(network(), target)


def test_what_turns_out_not_to_exist() -> None:
    y = torch.zeros(2, 4, 2, 3)
    with pytest.raises(SettingError, match="'relu1' has 4 channels; there is no channel 4"):
        evaluated("relu1:4", y)
    with pytest.raises(SettingError, match="has 2 x 3 places in a channel; there is no place"):
        evaluated("relu1:1,2,0", y)
    unnamed = Network(network().nodes)
    with pytest.raises(SettingError, match="has 6 classes, so there is no class 6"):
        evaluated(6, SCORES, unnamed)
    with pytest.raises(SettingError, match="no names of classes"):
        score(unnamed, "goose")
    with pytest.raises(SettingError, match="needs 7 classes; 'linear1' has 6"):
        evaluated("top7", SCORES)


NUMBERED = Sequential({"0": Linear(2, 3), "1": Linear(3, 3), "7": Linear(3, 3)}).nodes


@pytest.mark.parametrize(
    ("classes", "target", "title", "said"),
    [
        ((), "1", "1", "the target 1 is the class 1; the node of this name is '1:'"),
        ((), "2", "2", None),
        ((), "1:", "node 1", None),
        (["ant", "bee", "cat"], "1", "bee", "the target 1 is the class 1, bee; the node of this name is '1:'"),
        (["ant", "bee", "cat"], "1:", "node 1", None),
        (["ant", "bee", "cat"], "1:2", "1:2", None),
        (["ant", "bee", "cat"], "7", "node 7", None),
        (["1", "2", "3"], "1", "1", "class of this name, number 0; class number 1 is '2'; the node of this name is"),
        (["1", "2", "3"], "2", "2", "the class of this name, number 1; class number 2 is '3'"),
        (["1", "2", "3"], "3", "3", None),
        (["0", "1", "2"], "2", "2", None),
    ],
)
def test_a_number_is_a_class_and_what_else_it_could_be_is_said(
    classes: list[str], target: str, title: str, said: str | None
) -> None:
    numbered = Network(NUMBERED, meta={"classes": classes})
    with pytest.warns(BlockpropWarning, match=re.escape(said)) if said else contextlib.nullcontext():
        assert titles(score(numbered, target), 2) == [title, title]


def test_all_that_a_node_gives() -> None:
    assert score(network(), "relu1:").nodes == ("relu1",)
    assert values(score(network(), "relu1:"), {"relu1": SCORES}).tolist() == SCORES.mean(1).tolist()


def test_a_name_of_a_class_and_of_a_node() -> None:
    nodes = Sequential({"crane": Linear(2, 3)}).nodes
    with pytest.raises(SettingError, match=r"both a class and a node; give the class by its number, 1, or .* 'crane:'"):
        score(Network(nodes, meta={"classes": ["fox", "crane", "owl"]}), "crane")
    assert titles(score(Network(nodes, meta={"classes": ["fox", "crane", "owl"]}), "crane:"), 1) == ["node crane"]
    assert score(Network(nodes, meta={"classes": ["fox", "crane bird", "owl"]}), "crane").nodes == ("crane",)


def test_infinite_scores_of_others_do_no_harm() -> None:
    y = SCORES.clone()
    y[:, 5] = -torch.inf
    assert evaluated("kit fox", y)[0] == 10


LABELS = [torch.tensor([4, 0]), np.array([4, 0]), torch.tensor([4, 0], dtype=torch.int32)]


@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: str(labels.dtype))
def test_labels_are_a_class_for_each_example(labels: Tensor | np.ndarray) -> None:
    value, seed = evaluated(labels, SCORES)
    assert value == 5 + 9
    assert seed.tolist() == [[0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, 0]]
    assert titles(score(network(), labels), 2) == ["crane", "goose"]
    assert values(score(network(), labels), {"linear1": SCORES}).tolist() == [5, 9]


@pytest.mark.parametrize("one", [np.int64(2), np.array(2), torch.tensor(2, dtype=torch.uint8)], ids=repr)
def test_one_number_of_any_type_is_the_class_of_all(one: object) -> None:
    assert evaluated(one, SCORES)[1].tolist() == [[0, 0, 1, 0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([1, 2, 3]), "expected a class for each of 2 pictures, came 3"),
        (torch.tensor([1]), "expected a class for each of 2 pictures, came 1"),
        (torch.tensor([1, 6]), "so there is no class 6"),
        (torch.tensor([-1, 1]), "so there is no class -1"),
        (torch.tensor([1.0, 2.0]), r"\(n,\), a class for each picture; came 2 of torch.float32"),
        (torch.tensor([True, False]), "came 2 of torch.bool"),
        (torch.eye(6, dtype=torch.long)[:2], "came 2 x 6 of torch.int64"),
        (torch.zeros(0, dtype=torch.long), "came 0 of torch.int64"),
    ],
    ids=repr,
)
def test_labels_that_are_none(labels: Tensor, message: str) -> None:
    with pytest.raises((ShapeError, SettingError), match=message):
        evaluated(labels, SCORES)


@pytest.mark.parametrize("several", [[3, 4], (3, 4), range(2), ["goose", "crane"], [np.int64(1), 2, 3]], ids=repr)
@pytest.mark.parametrize("explain", [saliency, lambda *given: list(sanity(*given))], ids=["saliency", "sanity"])
def test_a_list_that_could_be_labels_is_refused(several: object, explain: Callable) -> None:
    with pytest.raises(SettingError, match=r"could mean a class for each of them or the sum of these"):
        explain(network(), torch.rand(2, 3, 8, 8), several)


def test_a_list_that_cannot_be_labels_is_a_sum() -> None:
    x = torch.rand(2, 3, 8, 8)
    net = network()
    for several in (["relu1:0", "relu1:1"], ["top", "relu1"], {0: 1, 3: 1}, [3]):
        saliency(net, x, several)
    both, (a, b) = saliency(net, x[:1], [0, 3]), (saliency(net, x[:1], one) for one in (0, 3))
    torch.testing.assert_close(both.attribution, a.attribution + b.attribution)


def test_labels_explain_each_picture_by_its_own_class() -> None:
    net, x = network(), torch.rand(2, 3, 8, 8)
    both = saliency(net, x, torch.tensor([3, 1]), "smooth_grad", samples=2)
    for i, number in enumerate((3, 1)):
        alone = saliency(net, x[i : i + 1], number, "smooth_grad", samples=2)
        torch.testing.assert_close(both.map[i], alone.map[0])
        assert both.targets[i] == alone.targets[0]


def test_names_of_classes_are_not_lent_to_other_outputs() -> None:
    inner = Network(network().nodes, outputs=("globalavgpool1", "linear1"), meta={"classes": CLASSES})
    with pytest.raises(SettingError, match=r"gives 4 numbers, which are none of the network's 6 classes; .*pool1:2'"):
        saliency(inner, torch.rand(1, 3, 8, 8), 2, output="globalavgpool1")
