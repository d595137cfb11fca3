"""Models of one operator of ai.onnx.ml: random trees and machines, and everything around them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper

onnxruntime.set_default_logger_severity(4)
ML = "ai.onnx.ml"
ELEMENTS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "float64": TensorProto.DOUBLE}


def ml_model(
    operator: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = ("y",), version: int = 3, **settings: Any
) -> ModelProto:
    """The model of this one operator, with inputs of these types and any number of rows."""
    node = helper.make_node(operator, list(inputs), list(outputs), domain=ML, **settings)
    given = []
    for name, array in inputs.items():
        element = ELEMENTS.get(array.dtype.name, TensorProto.STRING)
        given.append(helper.make_tensor_value_info(name, element, ["n", *array.shape[1:]]))
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "g", given, made)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(ML, version)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def by_onnxruntime(path: Path, inputs: Mapping[str, np.ndarray]) -> list[Any]:
    """What it computes: arrays, or lists of dictionaries."""
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, dict(inputs))


def random_trees(
    kind: str,
    outputs: int,
    seed: int = 0,
    trees: int = 5,
    depth: int = 3,
    modes: Sequence[str] = ("BRANCH_LEQ",),
    lowest: float = -1.0,
    only: int | None = None,
) -> dict[str, Any]:
    """Attributes of an ensemble with random nodes, of trees of this depth or less; leaves for one output if only."""
    random = np.random.default_rng(seed)
    nodes: dict[str, list[Any]] = {
        name: []
        for name in (
            *("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids"),
            "missing_value_tracks_true",
        )
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        counter = iter(range(10_000))

        def grow(level: int, tree: int = tree, counter: Any = counter) -> int:
            number = next(counter)
            is_leaf = level == 0 or (level < depth and random.random() < 0.2)
            children = (0, 0) if is_leaf else (grow(level - 1), grow(level - 1))
            mode = "LEAF" if is_leaf else modes[random.integers(len(modes))]
            row = (tree, number, int(random.integers(4)), mode, float(np.float32(random.normal())), *children)
            for name, value in zip(nodes, (*row, int(random.random() < 0.5)), strict=True):
                nodes[name].append(value)
            for output in (range(outputs) if only is None else (only,)) if is_leaf else ():
                entry = (tree, number, output, float(np.float32(random.uniform(lowest, 1))))
                for name, value in zip(leaves, entry, strict=True):
                    leaves[name].append(value)
            return number

        grow(depth)
    order = sorted(range(len(nodes["treeids"])), key=lambda i: (nodes["treeids"][i], nodes["nodeids"][i]))
    nodes = {name: [values[i] for i in order] for name, values in nodes.items()}  # roots first, as onnxruntime reads it
    names = {f"nodes_{name}": values for name, values in nodes.items()}
    return names | {f"{kind}_{name}": values for name, values in leaves.items()}


def random_machine(kernel: str, per_class: Sequence[int], seed: int = 0) -> dict[str, Any]:
    """Attributes of a support vector classifier with random vectors."""
    random = np.random.default_rng(seed)
    count, total = len(per_class), sum(per_class)
    return {
        "kernel_type": kernel,
        "kernel_params": [0.4, 0.3, 2.0],
        "support_vectors": random.normal(size=total * 4).astype(np.float32).tolist(),
        "vectors_per_class": list(per_class),
        "coefficients": random.normal(size=(count - 1) * total).astype(np.float32).tolist(),
        "rho": random.normal(size=count * (count - 1) // 2).astype(np.float32).tolist(),
    }


def rows(count: int = 40, seed: int = 1, gaps: bool = False) -> np.ndarray:
    """Rows of four features, with NaN here and there."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4)).astype(np.float32)
    if gaps:
        x[random.random(x.shape) < 0.2] = np.nan
    return x
