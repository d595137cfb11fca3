"""Handlers of decision trees: random forests, and what gradient boosting makes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from onnx import TensorProto
from torch import Tensor

from blockprop import blocks
from blockprop.errors import GraphError, UnsupportedError
from blockprop.importers.graph import Known
from blockprop.importers.onnx_calls import Input, OnnxCall
from blockprop.importers.onnx_operators.scores import ML, best, is_above, label_count, labelled, of_two, transformed
from blockprop.importers.onnx_operators.table import operator
from blockprop.importers.onnx_tensors import tensor_of

WAYS = {
    "BRANCH_LEQ": "<=",
    "BRANCH_LT": "<",
    "BRANCH_GTE": ">=",
    "BRANCH_GT": ">",
    "BRANCH_EQ": "=",
    "BRANCH_NEQ": "<>n",
}
"""What leads on to the true branch; n is NaN, which is unequal to every number."""
NOTE = "made of decision trees: it changes in steps, so that nothing propagates to its input; the leaves can be trained"


class Forest(NamedTuple):
    """Nodes one after the other, with children −1, −2, … for leaves 0, 1, …; roots by tree."""

    feature: Tensor
    threshold: Tensor
    ways: list[str]
    yes: Tensor
    no: Tensor
    roots: Tensor
    values: Tensor

    def block(self, call: OnnxCall, aggregate: str) -> Any:
        """The trees as a block."""
        settings = {
            "nodes": len(self.ways),
            "leaves": self.values.shape[0],
            "outputs": self.values.shape[1],
            "trees": len(self.roots),
            "depth": self._depth(),
            "aggregate": aggregate,
        }
        signs = {
            name: torch.tensor([sign in way for way in self.ways], dtype=torch.bool)
            for sign, name in (("<", "below"), ("=", "equal"), (">", "above"), ("n", "missing"))
        }
        tensors = {"feature": self.feature, "threshold": self.threshold, "yes": self.yes, "no": self.no}
        values = Known(self.values, f"{call.name}.values", trained=True)
        return call.block(blocks.Trees, settings, values=values, roots=self.roots, **tensors, **signs)

    def _depth(self) -> int:
        """The most nodes on a way from a root to a leaf; GraphError if a way never ends."""
        alive, depth = self.roots[self.roots >= 0].unique(), 0
        while len(alive):
            depth += 1
            if depth > len(self.ways):
                raise GraphError("its trees have a cycle")
            following = torch.cat([self.yes[alive], self.no[alive]])
            alive = following[following >= 0].unique()
        return depth


def _forest(
    nodes: dict[str, Any], leaf_of: dict[tuple[int, int], list[tuple[int, float]]], outputs: int, dtype: torch.dtype
) -> Forest:
    """The trees of the operators up to version 3, whose nodes are told by (tree, number), leaves among them."""
    keys = list(zip(nodes["treeids"], nodes["nodeids"], strict=True))
    is_leaf = [mode == "LEAF" for mode in nodes["modes"]]
    places: dict[tuple[int, int], int] = {}
    leaves: list[tuple[int, int]] = []
    count = 0
    for key, leaf in zip(keys, is_leaf, strict=True):
        if key in places:
            raise GraphError(f"the tree {key[0]} has two nodes {key[1]}")
        places[key] = -1 - len(leaves) if leaf else count
        if leaf:
            leaves.append(key)
        else:
            count += 1
    values = torch.zeros(max(len(leaves), 1), outputs, dtype=dtype)
    for leaf, key in enumerate(leaves):
        for output, weight in leaf_of.get(key, ()):
            values[leaf, output] += weight
    inner = [i for i, leaf in enumerate(is_leaf) if not leaf]
    missing = nodes["missing_value_tracks_true"] or [0] * len(keys)
    ways = [_way(nodes["modes"][i], missing[i]) for i in inner]
    yes, no = (
        torch.tensor([_child(places, keys[i][0], nodes[kind][i]) for i in inner], dtype=torch.int64)
        for kind in ("truenodeids", "falsenodeids")
    )
    taken = {(keys[i][0], nodes[kind][i]) for i in inner for kind in ("truenodeids", "falsenodeids")}
    roots = [places[key] for key in keys if key not in taken]
    if len(roots) != len(set(nodes["treeids"])):
        raise GraphError(f"{len(set(nodes['treeids']))} trees with {len(roots)} roots")
    feature = torch.tensor([nodes["featureids"][i] for i in inner], dtype=torch.int64)
    return Forest(feature, nodes["values"][inner], ways, yes, no, torch.tensor(roots), values)


def _way(mode: str, missing: int) -> str:
    if mode not in WAYS:
        raise UnsupportedError(f"nodes of the mode {mode!r}")
    return WAYS[mode] + "n" * bool(missing)


def _child(places: dict[tuple[int, int], int], tree: int, node: int) -> int:
    if (tree, node) not in places:
        raise GraphError(f"the tree {tree} lacks the node {node} that another leads to")
    return places[tree, node]


def _numbers(floats: Sequence[float] | None, tensor: TensorProto | None, call: OnnxCall) -> Tensor | None:
    """An attribute of real numbers in one of its two forms."""
    if tensor is not None:
        return tensor_of(tensor, call.state.folder).reshape(-1)
    return None if floats is None else torch.tensor(floats, dtype=torch.float32)


def _read(call: OnnxCall, kind: str, outputs: int, attributes: dict[str, Any]) -> tuple[Forest, Tensor | None]:
    """(the trees, base values) from the attributes; kind: what those of the leaves are called."""
    names = ("treeids", "nodeids", "featureids", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true")
    nodes: dict[str, Any] = {name: attributes.get(f"nodes_{name}") or [] for name in names}
    thresholds, weights, base = (
        _numbers(attributes.get(name), attributes.get(f"{name}_as_tensor"), call)
        for name in ("nodes_values", f"{'class' if kind == 'class' else 'target'}_weights", "base_values")
    )
    if thresholds is None or weights is None:
        raise GraphError("trees without values of nodes, or without weights of leaves")
    nodes["values"] = thresholds
    ids = [attributes.get(f"{kind}_{name}") or [] for name in ("treeids", "nodeids", "ids")]
    leaf_of: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for tree, node, output, weight in zip(*ids, weights.tolist(), strict=True):
        if not 0 <= output < outputs:
            raise GraphError(f"a leaf for output {output} of {outputs}")
        leaf_of.setdefault((tree, node), []).append((output, weight))
    return _forest(nodes, leaf_of, outputs, weights.dtype), base


def _applied(call: OnnxCall, x: Input, forest: Forest, aggregate: str, base: Tensor | None, part: str) -> Any:
    """The trees' values for x, and the base values added."""
    call.note(NOTE)
    y = call.add(forest.block(call, aggregate), x, part=part if base is None else "trees")
    if base is None:
        return y
    return call.add(blocks.Add(), y, Known(base.to(y.dtype), f"{call.name}.base", trained=True), part=part)


AGGREGATES = {"SUM": "sum", "AVERAGE": "mean", "MIN": "min", "MAX": "max"}


@operator("TreeEnsembleRegressor", 1, 3, 5, domain=ML)
def tree_regressor(
    call: OnnxCall, x: Input, *, n_targets: int = 1, aggregate_function: str, post_transform: str, **attributes: Any
) -> Any:
    if aggregate_function not in AGGREGATES:
        raise GraphError(f"the aggregate_function {aggregate_function!r}")
    forest, base = _read(call, "target", n_targets, attributes)
    y = _applied(call, x, forest, AGGREGATES[aggregate_function], base, "" if post_transform == "NONE" else "scores")
    return transformed(call, y, post_transform)


@operator("TreeEnsembleClassifier", 1, 3, 5, domain=ML)
def tree_classifier(
    call: OnnxCall,
    x: Input,
    *,
    post_transform: str,
    classlabels_int64s: list[int] | None = None,
    classlabels_strings: list[str] | None = None,
    **attributes: Any,
) -> Any:
    count, ids = label_count(classlabels_int64s, classlabels_strings), set(attributes.get("class_ids") or ())
    if count < 2:
        raise UnsupportedError("one class alone")
    is_single = count == 2 and len(ids) == 1
    forest, base = _read(call, "class", count, attributes)
    if is_single and ids == {0}:  # only the second class has a score, whatever its number says
        if base is not None and len(base) != 1:
            raise UnsupportedError("two base values for the score of one class")
        score = _applied(call, x, forest._replace(values=forest.values[:, :1]), "sum", base, "score")
        is_positive = bool((forest.values >= 0).all())
        scores = of_two(call, score, post_transform, opposite=not is_positive)
        place = is_above(call, score, 0.5 if is_positive else 0.0)
        return labelled(call, place, classlabels_int64s, classlabels_strings), scores
    if base is not None and len(base) != count:
        raise UnsupportedError(f"{len(base)} base values for {count} classes")
    scores = _applied(call, x, forest, "sum", base, "" if post_transform == "NONE" else "scores")
    if is_single:
        (second,) = ids
        score = call.add(blocks.Slice(1, second, second + 1), scores, part="score")
        place = is_above(call, score, 0.5 if bool((forest.values >= 0).all()) else 0.0)
    else:
        place = best(call, scores)
    labels = labelled(call, place, classlabels_int64s, classlabels_strings)
    return labels, transformed(call, scores, post_transform)


POST_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")


@operator("TreeEnsemble", 5, domain=ML)
def tree_ensemble(
    call: OnnxCall,
    x: Input,
    *,
    n_targets: int = 1,
    aggregate_function: int,
    post_transform: int,
    nodes_splits: TensorProto,
    nodes_modes: TensorProto,
    nodes_featureids: list[int],
    nodes_truenodeids: list[int],
    nodes_falsenodeids: list[int],
    nodes_trueleafs: list[int],
    nodes_falseleafs: list[int],
    leaf_targetids: list[int],
    leaf_weights: TensorProto,
    tree_roots: list[int],
    nodes_missing_value_tracks_true: list[int] | None = None,
    membership_values: TensorProto | None = None,
    nodes_hitrates: TensorProto | None = None,
) -> Any:
    """The form of version 5: a node's children are numbers of nodes or of leaves."""
    weights = tensor_of(leaf_weights, call.state.folder).reshape(-1)
    values = torch.zeros(len(weights), n_targets, dtype=weights.dtype)
    values[torch.arange(len(weights)), torch.tensor(leaf_targetids)] = weights
    splits, codes = (tensor_of(proto, call.state.folder).reshape(-1) for proto in (nodes_splits, nodes_modes))
    yes, no = (
        [-1 - child if leaf else child for child, leaf in zip(children, leaves, strict=True)]
        for children, leaves in ((nodes_truenodeids, nodes_trueleafs), (nodes_falsenodeids, nodes_falseleafs))
    )
    members = [] if membership_values is None else tensor_of(membership_values, call.state.folder).reshape(-1).tolist()
    missing = nodes_missing_value_tracks_true or [0] * len(yes)
    rows = [
        [feature, split, MODES[code], lost, true, false]
        for feature, split, code, lost, true, false in zip(
            nodes_featureids, splits.tolist(), codes.tolist(), missing, yes, no, strict=True
        )
    ]
    rows = _without_sets(rows, members)
    feature, threshold, modes, lost, true, false = zip(*rows, strict=True)
    forest = Forest(
        torch.tensor(feature),
        torch.tensor(threshold, dtype=splits.dtype),
        [_way(mode, miss) for mode, miss in zip(modes, lost, strict=True)],
        torch.tensor(true),
        torch.tensor(false),
        torch.tensor(tree_roots),
        values,
    )
    aggregate = ("mean", "sum", "min", "max")[aggregate_function]
    y = _applied(call, x, forest, aggregate, None, "" if post_transform == 0 else "scores")
    return transformed(call, y, POST_TRANSFORMS[post_transform])


def _without_sets(rows: list[list[Any]], members: list[float]) -> list[list[Any]]:
    """Nodes that ask whether a feature is in a set, as chains of nodes that ask for one of its members each."""
    sets: list[list[float]] = []
    rest = list(rows)
    for value in members:
        if not sets or value != value:  # NaN ends a set
            sets.append([])
        if value == value:
            sets[-1].append(value)
    waiting = iter(sets)
    for row in rows:
        if row[2] != "BRANCH_MEMBER":
            continue
        first, *others = next(waiting)
        row[1], row[2] = first, "BRANCH_EQ"
        for other in others:
            rest.append([row[0], other, "BRANCH_EQ", row[3], row[4], row[5]])
            row[5] = len(rest) - 1
            row = rest[-1]
    return rest
