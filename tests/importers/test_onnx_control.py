"""Graphs inside nodes: loops and scans written out, sequences of tensors, operators that the standard defines."""

from pathlib import Path

import pytest
import torch

from blockprop.errors import UnsupportedError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import error, expected_of, model, outputs_of, random, written
from tests.importers.onnx_oracles import verify_backward

LOOP = """g (float[N, 4] x) => (float[N, 4] y, float[3, N, 4] all) {
    count = Constant<value = int64 {3}>()
    yes = Constant<value = bool {1}>()
    y, all = Loop(count, yes, x) <
        body = b (int64 i, bool going, float[N, 4] h) => (bool on, float[N, 4] next, float[N, 4] seen) {
            on = Identity(going)
            m = MatMul(h, w)
            f = Cast<to = 1>(i)
            a = Add(m, f)
            next = Tanh(a)
            seen = Identity(next)
        }
    >
}"""
SCAN = """g (float[5, N, 4] x, float[N, 4] start) => (float[N, 4] end, float[5, N, 4] y) {
    end, y = Scan(start, x) <num_scan_inputs = 1, scan_input_directions = [1], scan_output_directions = [1],
        body = b (float[N, 4] h, float[N, 4] part) => (float[N, 4] next, float[N, 4] seen) {
            s = Add(h, part)
            m = MatMul(s, w)
            next = Tanh(m)
            seen = Mul(next, part)
        }
    >
}"""
DISTANCES = """g (float[N, 4] x) => (float[N, 6] y) {
    same, d = Scan(others, x) <num_scan_inputs = 1,
        body = b (float[6, 4] rows, float[4] row) => (float[6, 4] rows_too, float[6] sums) {
            rows_too = Identity(rows)
            r = Sub(rows, row)
            sums = ReduceSumSquare<axes = [1], keepdims = 0>(r)
        }
    >
    y = Sqrt(d)
}"""


def test_a_loop_of_a_known_number_of_rounds(tmp_path: Path) -> None:
    """Its weight is one weight, whose gradient adds up."""
    path = written(model(LOOP, w=(4, 4)), tmp_path)
    network, x = from_onnx(path), random(3, 4)
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6
    assert [tuple(p.shape) for p in network.parameters.values()] == [(4, 4)]
    assert network.meta["free"] == {"x": [0]}
    verify_backward(network, {"x": x})


def test_a_loop_whose_end_hangs_on_the_data(tmp_path: Path) -> None:
    text = LOOP.replace("on = Identity(going)", "p = ReduceMax<keepdims = 0>(h) zero = Sub(p, p) on = Greater(p, zero)")
    with pytest.raises(UnsupportedError, match=r"Loop \(opset 17\): its operand must be a constant, .* input 'x'"):
        from_onnx(written(model(text, w=(4, 4)), tmp_path))
    text = LOOP.replace("(float[N, 4] x)", "(float[N, 4] x, int64 count)").replace(
        "count = Constant<value = int64 {3}>()", ""
    )
    path = written(model(text, w=(4, 4)), tmp_path)
    with pytest.raises(UnsupportedError, match=r"its trip count must be a constant, .* constants=\{'count': …\}"):
        from_onnx(path)
    network, x = from_onnx(path, constants={"count": 2}), random(3, 4)
    assert outputs_of(network, x)[1].shape == (2, 3, 4)


def test_what_a_loop_lacks_is_said_once(tmp_path: Path) -> None:
    text = LOOP.replace("next = Tanh(a)", "next = RandomNormalLike(a)")
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(written(model(text, w=(4, 4)), tmp_path))
    assert str(caught.value).count("RandomNormalLike (opset 17)") == 2  # in the head, and where it is
    assert "'next' (node 5 of 6 in 'y' (Loop))" in str(caught.value)


def test_a_scan_backward_along_its_steps(tmp_path: Path) -> None:
    path = written(model(SCAN, w=(4, 4)), tmp_path)
    network, x, start = from_onnx(path), random(5, 3, 4), random(3, 4, seed=1)
    assert error(outputs_of(network, x, start), expected_of(path, x, start)) < 1e-6
    verify_backward(network, {"x": x, "start": start})


def test_a_scan_whose_steps_are_alike_leaves_them_free(tmp_path: Path) -> None:
    """How scikit-learn's nearest neighbors are exported: distances from all rows of the training data."""
    path = written(model(DISTANCES, others=(6, 4)), tmp_path)
    network = from_onnx(path)
    assert network.meta["free"] == {"x": [0]}
    assert len(network.nodes) < 10
    for count in (1, 7):
        x = random(count, 4)
        assert error(outputs_of(network, x), expected_of(path, x)) < 1e-5
    verify_backward(network, {"x": x})


def test_a_scan_over_the_others_is_one_step_for_all(tmp_path: Path) -> None:
    """The same with the roles exchanged: the rows of the training data are the steps, however many."""
    text = DISTANCES.replace("Scan(others, x)", "Scan(x, others)").replace("float[6, 4] rows,", "float[N, 4] rows,")
    text = text.replace("float[6, 4] rows_too, float[6] sums", "float[N, 4] rows_too, float[N] sums")
    path = written(model(text, others=(40, 4)), tmp_path)
    network, x = from_onnx(path), random(7, 4)
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-5
    assert len(network.nodes) < 10
    verify_backward(network, {"x": x})


def test_a_scan_along_a_free_axis_fixes_it_and_says_so(tmp_path: Path) -> None:
    text = SCAN.replace("[5, N, 4]", "[L, N, 4]")
    network = from_onnx(written(model(text, w=(4, 4)), tmp_path), sizes={"L": 6})
    assert network.meta["free"] == {"x": [1], "start": [0]}
    (note,) = network.meta["notes"]
    assert note.startswith("'L' (axis 0 of 'x') is fixed at 6: with other sizes, 'end' (Scan): the number of steps")


SEQUENCES = {
    "put together": """
        a = Tanh(x)
        b = Sigmoid(x)
        s = SequenceConstruct(a, b, x)
        two = Constant<value = int64 {2}>()
        t = SequenceErase(s, two)
        u = SequenceInsert(t, x)
        y = ConcatFromSequence<axis = 1>(u)""",
    "stacked": "s = SequenceConstruct(x, x)  y = ConcatFromSequence<axis = -1, new_axis = 1>(s)",
    "split, and one of its parts": """
        s = SplitToSequence<axis = 1>(x, three)
        last = Constant<value = int64 {-1}>()
        y = SequenceAt(s, last)""",
    "how many": """
        s = SplitToSequence<axis = 1, keepdims = 0>(x)
        n = SequenceLength(s)
        f = Cast<to = 1>(n)
        y = Mul(x, f)""",
    "filled in a loop": """
        count = Constant<value = int64 {3}>()
        yes = Constant<value = bool {1}>()
        none = SequenceEmpty()
        s = Loop(count, yes, none) <
            body = b (int64 i, bool going, seq(float[N, 4]) h) => (bool on, seq(float[N, 4]) next) {
                on = Identity(going)
                f = Cast<to = 1>(i)
                m = Mul(x, f)
                next = SequenceInsert(h, m)
            }
        >
        y = ConcatFromSequence<axis = 0>(s)""",
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_of_a_length_that_follows_from_the_file(name: str, tmp_path: Path) -> None:
    text = f"g (float[N, 4] x) => (float[M, K] y) {{ three = Constant<value = int64 {{3}}>() {SEQUENCES[name]} }}"
    path = written(model(text), tmp_path)
    network, x = from_onnx(path), random(3, 4)
    assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6
    assert network.meta["free"] == {"x": [0]}
    verify_backward(network, {"x": x})


def test_a_sequence_as_an_output(tmp_path: Path) -> None:
    text = "g (float[N, 4] x) => (seq(float[N, 4]) y) { a = Tanh(x)  y = SequenceConstruct(x, a) }"
    network, x = from_onnx(written(model(text), tmp_path)), random(3, 4)
    assert [torch.equal(a, b) for a, b in zip(outputs_of(network, x), (x, x.tanh()), strict=True)] == [True, True]
    (note,) = network.meta["notes"]
    assert note == "the output 'y' is a sequence in its file; its 2 tensors are outputs one by one"


def test_attention_is_what_the_standard_defines(tmp_path: Path) -> None:
    """No handler of its own: the standard's definition by other operators, with names after the node."""
    text = "g (float[N, 2, L, 4] x) => (float[N, 2, L, 4] y) { y = Attention<is_causal = 1>(x, x, x) }"
    network, x = from_onnx(written(model(text, opset=23), tmp_path)), random(2, 2, 5, 4)
    mask = torch.full((5, 5), -torch.inf).triu(1)
    expected = (x @ x.mT / 2 + mask).softmax(-1) @ x
    assert error(outputs_of(network, x), [expected]) < 1e-5
    assert all(node.name.startswith("y") for node in network.nodes)
    verify_backward(network, {"x": x})
