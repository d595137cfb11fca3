"""Outputs whose length follows from the data: boxes that remain, places of what is not 0, experts chosen by number."""

from pathlib import Path

import pytest
import torch

from blockprop import load, save
from blockprop.errors import GraphError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import error, expected_of, model, outputs_of, random, written
from tests.importers.onnx_oracles import verify_backward

DETECTOR = """g (float[1, K, 4] raw, float[1, 3, K] s) => (int64[M, 3] chosen, float[M, 4] best) {
    boxes = Sigmoid(raw)
    scores = Sigmoid(s)
    most = Constant<value = int64 {5}>()
    overlap = Constant<value = float {0.4}>()
    least = Constant<value = float {0.5}>()
    chosen = NonMaxSuppression(boxes, scores, most, overlap, least)
    two = Constant<value = int64[1] {2}>()
    numbers = Gather<axis = 1>(chosen, two)
    flat = Constant<value = int64[1] {-1}>()
    places = Reshape(numbers, flat)
    zero = Constant<value = int64 {0}>()
    first = Gather<axis = 0>(boxes, zero)
    best = Gather<axis = 0>(first, places)
}"""
EXPERTS = """g (float[N, 4] x) => (float[N, 4] y) {
    gate = MatMul(x, router)
    expert = ArgMax<axis = 1, keepdims = 0>(gate)
    zero = Constant<value = int64 {0}>()
    one = Constant<value = int64 {1}>()
    is_first = Equal(expert, zero)
    is_second = Equal(expert, one)
    n1 = NonZero(is_first)
    n2 = NonZero(is_second)
    p1 = Transpose<perm = [1, 0]>(n1)
    p2 = Transpose<perm = [1, 0]>(n2)
    x1 = GatherND(x, p1)
    x2 = GatherND(x, p2)
    y1 = MatMul(x1, w1)
    y2 = MatMul(x2, w2)
    empty = Sub(x, x)
    h = ScatterND(empty, p1, y1)
    y = ScatterND(h, p2, y2)
}"""


def test_boxes_that_remain_are_forward_only(tmp_path: Path) -> None:
    path = written(model(DETECTOR), tmp_path)
    network = from_onnx(path)
    assert network.meta["free"] == {"raw": [1], "s": [2]}
    assert network.meta["notes"][-1] == (
        "'chosen' (NonMaxSuppression) is forward only: it gives numbers of boxes, so that nothing goes back through it"
    )
    for count in (1, 30):
        raw, s = random(1, count, 4), random(1, 3, count, seed=1)
        assert error(outputs_of(network, raw, s), expected_of(path, raw, s)) < 1e-6
    trace = network.forward(raw, s)
    with pytest.raises(GraphError, match=r"node 'chosen': NonMaxSuppression is forward only: .* back from the boxes"):
        network.backward(trace, {"chosen": torch.ones(trace["chosen"].shape)}, wrt="inputs")
    trace = network.forward(raw, s)
    d = network.backward(trace, {"best": torch.ones_like(trace["best"])}, wrt=["raw", "s"])
    assert d["raw"].any(2).sum() == trace["chosen"][:, 2].unique().numel()  # the boxes that were chosen, and no other
    assert not d["s"].any()
    save(network, tmp_path / "detector.safetensors")
    assert torch.equal(load(tmp_path / "detector.safetensors")(raw, s)[0], trace["chosen"])


def test_experts_chosen_by_number(tmp_path: Path) -> None:
    """Each row goes to one of two matrices, and the rows come back in their places."""
    path = written(model(EXPERTS, router=(4, 2), w1=(4, 4), w2=(4, 4)), tmp_path)
    network = from_onnx(path)
    assert network.meta["free"] == {"x": [0]}
    for count in (1, 9):
        x = random(count, 4)
        assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6
    verify_backward(network, {"x": x})


def test_rows_that_a_condition_chooses(tmp_path: Path) -> None:
    text = """g (float[N, 4] x) => (float[M, 4] y) {
        m = ReduceMax<axes = [1], keepdims = 0>(x)
        half = Constant<value = float {0.5}>()
        c = Greater(m, half)
        y = Compress<axis = 0>(x, c)
    }"""
    path = written(model(text), tmp_path)
    network, x = from_onnx(path), random(9, 4)
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6
    verify_backward(network, {"x": x})


@pytest.mark.parametrize("settings", ["kernel_shape = [2, 2]", "kernel_shape = [3, 2], strides = [2, 1]"])
@pytest.mark.parametrize("order", [0, 1])
def test_places_of_maxima(settings: str, order: int, tmp_path: Path) -> None:
    text = f"""g (float[N, 2, 6, 5] x) => (float[N, 2, H, W] y, int64[N, 2, H, W] places) {{
        y, places = MaxPool<{settings}, storage_order = {order}>(x)
    }}"""
    path = written(model(text), tmp_path)
    network, x = from_onnx(path), random(3, 2, 6, 5)
    y, places = outputs_of(network, x)
    expected = expected_of(path, x)
    assert torch.equal(y, expected[0])
    assert torch.equal(places, expected[1])
    verify_backward(network, {"x": x})
