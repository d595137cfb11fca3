"""ai.onnx.ml: what scikit-learn and gradient boosting export, against onnxruntime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blockprop import Network, load, save
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers import from_onnx
from tests.importers.onnx_ml_models import by_onnxruntime, ml_model, random_machine, random_trees, rows
from tests.importers.onnx_models import outputs_of, written
from tests.importers.onnx_oracles import verify_backward

TEXTS = ["lizard", "ant", "bee"]
LINEAR = {"coefficients": np.linspace(-1, 2, 12).tolist(), "intercepts": [0.1, -0.3, 0.2]}
ONE_ROW = {"coefficients": [0.5, -1.0, 0.3, 0.8], "intercepts": [0.1]}
MACHINE = {"n_supports": 5, "coefficients": [0.3, -1.0, 0.5, 0.9, -0.2], "rho": [0.1]} | {
    "kernel_params": [0.4, 0.3, 2.0],
    "support_vectors": np.random.default_rng(0).normal(size=20).astype(np.float32).tolist(),
}
WHOLE = np.array([[3], [7], [5], [3]])
CLASSIFIERS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f"linear, {post}": ("LinearClassifier", LINEAR | {"classlabels_ints": [3, 7, 9], "post_transform": post})
        for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
    },
    "linear, of texts": ("LinearClassifier", LINEAR | {"classlabels_strings": TEXTS, "post_transform": "SOFTMAX"}),
    **{
        f"linear, one row, {post}": ("LinearClassifier", ONE_ROW | {"classlabels_ints": [0, 1], "post_transform": post})
        for post in ("NONE", "SOFTMAX", "LOGISTIC")
    },
    **{
        f"trees of three, {post}": (
            "TreeEnsembleClassifier",
            random_trees("class", 3) | {"classlabels_int64s": [0, 1, 2], "post_transform": post},
        )
        for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")
    },
    "trees with base values": (
        "TreeEnsembleClassifier",
        random_trees("class", 3) | {"classlabels_strings": TEXTS, "base_values": [0.5, -0.1, 0.2]},
    ),
    **{
        f"trees for one of two, from {lowest}, {post}, {base}": (
            "TreeEnsembleClassifier",
            random_trees("class", 2, lowest=lowest, only=0, trees=1 if lowest >= 0 else 5)
            | {"classlabels_int64s": [3, 7], "post_transform": post}
            | ({"base_values": base} if base else {}),
        )
        for lowest in (-1.0, 0.0)
        for post in ("NONE", "SOFTMAX", "LOGISTIC")
        for base in ([], [0.4])
    },
    "trees for the second of two": (
        "TreeEnsembleClassifier",
        random_trees("class", 2, only=1) | {"classlabels_int64s": [0, 1], "post_transform": "LOGISTIC"},
    ),
    **{
        f"machine, {kernel}, {len(sizes)} classes{', shares' if shares else ''}": (
            "SVMClassifier",
            random_machine(kernel, sizes)
            | {"classlabels_ints": list(range(3, 3 + len(sizes)))}
            | ({"prob_a": [-1.0, -0.5, -0.7][:pairs], "prob_b": [0.1, 0.0, 0.3][:pairs]} if shares else {}),
        )
        for kernel in ("RBF", "POLY", "LINEAR", "SIGMOID")
        for sizes, pairs in (((3, 4), 1), ((2, 3, 4), 3))
        for shares in (False, True)
    },
}


def checked(
    operator: str, settings: Mapping[str, Any], inputs: dict[str, np.ndarray], folder: Path, **more: Any
) -> Network:
    """The network, after a comparison with onnxruntime. Texts are compared by the names that the notes tell."""
    path = written(ml_model(operator, inputs, **settings, **more), folder)
    network, expected = from_onnx(path), by_onnxruntime(path, inputs)
    vocabulary = network.meta.get("texts", [])
    tensors = [
        torch.tensor([[vocabulary.index(t) if t in vocabulary else -1 for t in row] for row in x.tolist()])
        if x.dtype.kind in "OU"
        else torch.from_numpy(x)
        for x in inputs.values()
    ]
    for mine, theirs in zip(outputs_of(network, *tensors), expected, strict=True):
        if isinstance(theirs, list):
            theirs = np.array([[row[name] for name in network.meta["classes"]] for row in theirs], np.float32)
        if theirs.dtype.kind in "OU":
            theirs = np.array([network.meta["classes"].index(text) for text in theirs.flat]).reshape(theirs.shape)
        torch.testing.assert_close(mine, torch.from_numpy(theirs), rtol=1e-4, atol=1e-5)
    return network


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name: str, tmp_path: Path) -> None:
    operator, settings = CLASSIFIERS[name]
    network = checked(operator, settings, {"x": rows()}, tmp_path, outputs=("label", "scores"))
    labels = settings.get("classlabels_strings") or settings.get("classlabels_ints") or settings["classlabels_int64s"]
    assert network.meta["classes"] == list(map(str, labels))
    assert network.meta["free"] == {"x": [0]}
    x = torch.from_numpy(rows(6))
    verify_backward(network, {"x": x})


TREES = {
    **{name: {"aggregate_function": name} for name in ("SUM", "AVERAGE", "MIN", "MAX")},
    "base values": {"base_values": [0.3, -0.7]},
    "logistic": {"post_transform": "LOGISTIC"},
}


@pytest.mark.parametrize("name", TREES)
def test_regressing_trees(name: str, tmp_path: Path) -> None:
    settings = random_trees("target", 2, modes=("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE", "BRANCH_NEQ"))
    inputs = {"x": rows(gaps=True)}
    network = checked("TreeEnsembleRegressor", settings | {"n_targets": 2} | TREES[name], inputs, tmp_path)
    (note,) = network.meta["notes"]
    assert note.startswith("'y' (TreeEnsembleRegressor) is made of decision trees: it changes in steps")
    x = torch.from_numpy(rows(8))
    verify_backward(network, {"x": x})
    trace = network.forward(x)
    d = network.backward(trace, torch.ones_like(trace.output), wrt=["x", *network.parameters])
    assert not d["x"].any()
    assert d[next(iter(network.parameters))].any()
    save(network, tmp_path / "trees.safetensors")
    assert torch.equal(load(tmp_path / "trees.safetensors")(x), trace.output)


def test_trees_exactly_at_their_thresholds(tmp_path: Path) -> None:
    settings = random_trees("target", 1, modes=("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE", "BRANCH_EQ"))
    values = np.array(settings["nodes_values"], np.float32)
    x = np.random.default_rng(0).choice(values, (200, 4)).astype(np.float32)
    checked("TreeEnsembleRegressor", settings | {"n_targets": 1}, {"x": x}, tmp_path)


def test_broken_trees_are_refused(tmp_path: Path) -> None:
    good = random_trees("target", 1) | {"n_targets": 1}
    for name, change, reason in (
        ("nodes_truenodeids", lambda ids: [1000, *ids[1:]], "lacks the node 1000"),
        ("target_ids", lambda ids: [5, *ids[1:]], "a leaf for output 5 of 1"),
        ("nodes_modes", lambda modes: ["ELSEWHERE" if m != "LEAF" else m for m in modes], "mode 'ELSEWHERE'"),
        ("nodes_nodeids", lambda ids: [0] * len(ids), "has two nodes 0"),
        ("nodes_falsenodeids", lambda ids: [0] * len(ids), "roots|cycle"),
        ("nodes_values", lambda values: values[:2], "do not fit"),
    ):
        settings = good | {name: change(good[name])}
        with pytest.raises((GraphError, UnsupportedError), match=reason):
            from_onnx(written(ml_model("TreeEnsembleRegressor", {"x": rows()}, **settings), tmp_path))


@pytest.mark.parametrize("kernel", ["RBF", "POLY", "LINEAR", "SIGMOID"])
@pytest.mark.parametrize("one_class", [0, 1])
def test_regressing_machines(kernel: str, one_class: int, tmp_path: Path) -> None:
    settings = MACHINE | {"kernel_type": kernel, "one_class": one_class}
    network = checked("SVMRegressor", settings, {"x": rows()}, tmp_path)
    if not one_class:
        verify_backward(network, {"x": torch.from_numpy(rows(5))})


ZERO_ROW = np.concatenate([rows(5), np.zeros((1, 4), np.float32)])
COLUMNS: dict[str, tuple[str, dict[str, Any], dict[str, np.ndarray]]] = {
    "scaler": ("Scaler", {"offset": [1.0, 2.0, -3.0, 0.0], "scale": [0.5, 2.0, 1.0, 0.1]}, {"x": rows()}),
    "one scale for all": ("Scaler", {"offset": [0.5], "scale": [2.0]}, {"x": rows()}),
    "scaler of whole numbers": ("Scaler", {"offset": [1.0], "scale": [0.5]}, {"x": WHOLE}),
    **{f"normalizer, {norm}": ("Normalizer", {"norm": norm}, {"x": ZERO_ROW}) for norm in ("MAX", "L1", "L2")},
    "normalizer of whole numbers": ("Normalizer", {"norm": "L2"}, {"x": WHOLE}),
    "binarizer": ("Binarizer", {"threshold": 0.3}, {"x": rows()}),
    "regressor": ("LinearRegressor", LINEAR | {"targets": 3}, {"x": rows()}),
    "regressor without shift": ("LinearRegressor", {"coefficients": [0.5, 1.0, -1.0, 2.0]}, {"x": rows()}),
    "gaps": (
        "Imputer",
        {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": float("nan")},
        {"x": rows(gaps=True)},
    ),
    "gaps marked by a number": (
        "Imputer",
        {"imputed_value_int64s": [10], "replaced_value_int64": 7},
        {"x": WHOLE},
    ),
    "categories": ("OneHotEncoder", {"cats_int64s": [3, 5, 9]}, {"x": WHOLE}),
    "categories of texts": ("OneHotEncoder", {"cats_strings": TEXTS}, {"x": np.array([["bee"], ["cat"], ["ant"]])}),
    "numbers for numbers": (
        "LabelEncoder",
        {"keys_int64s": [3, 7], "values_floats": [0.5, 1.5], "default_float": -1.0},
        {"x": WHOLE},
    ),
    "numbers for texts": (
        "LabelEncoder",
        {"keys_strings": TEXTS, "values_int64s": [5, 6, 8], "default_int64": -3},
        {"x": np.array([["bee"], ["cat"], ["lizard"]])},
    ),
    "texts for numbers": (
        "LabelEncoder",
        {"keys_int64s": [7, 3, 5], "values_strings": TEXTS, "default_string": "?"},
        {"x": WHOLE},
    ),
    "numbers for texts, mapped": (
        "CategoryMapper",
        {"cats_strings": TEXTS, "cats_int64s": [5, 6, 8], "default_int64": -3},
        {"x": np.array([["bee"], ["cat"], ["lizard"]])},
    ),
    "columns side by side": (
        "FeatureVectorizer",
        {"inputdimensions": [4, 1]},
        {"x": rows(4), "z": WHOLE.astype(np.float32)},
    ),
    "a dictionary": ("ZipMap", {"classlabels_strings": [*TEXTS, "newt"]}, {"x": rows()}),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns(name: str, tmp_path: Path) -> None:
    operator, settings, inputs = COLUMNS[name]
    network = checked(operator, settings, inputs, tmp_path)
    x = torch.from_numpy(rows(5))
    if operator in ("Scaler", "LinearRegressor", "Normalizer") and inputs["x"].shape[1] == 4:
        verify_backward(network, {"x": x})
    if operator == "Scaler":
        assert not network.parameters  # what a scaler has measured is nothing to train


def test_some_columns(tmp_path: Path) -> None:
    proto = ml_model("ArrayFeatureExtractor", {"x": rows(), "places": np.array([2, 0])})
    proto.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 2
    network = from_onnx(written(proto, tmp_path), constants={"places": np.array([2, 0])})
    x = torch.from_numpy(rows(5))
    assert torch.equal(network(x), x[:, [2, 0]])
    verify_backward(network, {"x": x})


def test_texts_are_numbers_that_the_notes_tell(tmp_path: Path) -> None:
    inputs = {"city": np.array([["bee"], ["cat"]])}
    network = checked("OneHotEncoder", {"cats_strings": TEXTS}, inputs, tmp_path)
    assert network.meta["texts"] == TEXTS
    (note,) = network.meta["notes"]
    assert note == (
        "'city' takes whole numbers in place of texts: 0 'lizard', 1 'ant', 2 'bee'; another number is a text that the "
        "model does not know"
    )
    settings = {"keys_int64s": [0, 1, 2], "values_strings": TEXTS}
    network = checked("LabelEncoder", settings, {"x": np.array([[2], [0]])}, tmp_path)
    assert network.meta["notes"] == ["the output 'y' gives numbers in place of texts: 0 'lizard', 1 'ant', 2 'bee'"]


def test_what_no_tensor_holds_is_refused_in_words(tmp_path: Path) -> None:
    scores = ONE_ROW | {"classlabels_ints": [0, 1], "post_transform": "PROBIT"}
    for proto, reason in (
        (ml_model("LinearClassifier", {"x": rows()}, ("l", "s"), **scores), "the post transform 'PROBIT'"),
        (ml_model("LabelEncoder", {"x": WHOLE}, keys_strings=TEXTS, values_int64s=[1, 2, 3]), "numbers up in a table"),
        (
            ml_model("LinearClassifier", {"x": rows()}, ("l", "s"), **(LINEAR | {"classlabels_ints": [1]})),
            "3 scores for 1 classes",
        ),
    ):
        with pytest.raises((GraphError, UnsupportedError), match=reason):
            from_onnx(written(proto, tmp_path))
