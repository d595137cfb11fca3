"""Free sizes: which axes stay free, those that a model fixes, and shapes that become formulas."""

import re
from pathlib import Path

import pytest

from blockprop.errors import BlockpropError, SettingError, UnsupportedError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import MODELS, error, expected_of, model, outputs_of, random, written


def test_a_size_that_the_model_fixes_is_found(tmp_path: Path) -> None:
    """Two convolutions, and a matrix of 5 * 6 * 6 rows: 32 is the only one of the usual sizes that fits."""
    text = """g (float[N, 3, H, W] x) => (float[N, 2] y) {
        c = Conv<strides = [5, 5]>(x, w)
        f = Flatten(c)
        y = Gemm(f, m)
    }"""
    network = from_onnx(written(model(text, w=(5, 3, 5, 5), m=(180, 2)), tmp_path))
    assert network.meta["free"] == {"x": [0]}
    assert network.meta["shape"] == [3, 32, 32]


def test_the_user_says_the_size(tmp_path: Path) -> None:
    text = "g (float[N, 3, height, 50] x) => (float[N, 2] y) { f = Flatten(x)  y = Gemm(f, m) }"
    path = written(model(text, m=(3 * 70 * 50, 2)), tmp_path)
    with pytest.raises(BlockpropError, match=r"sizes=\{'N': …, 'height': …\} says which sizes to start with"):
        from_onnx(path)
    assert from_onnx(path, sizes={"height": 70}).meta["shape"] == [3, 70, 50]
    network = from_onnx(path, sizes={"x": (2, 3, 70, 50)})
    assert network.meta["shape"] == [3, 70, 50]
    assert network.meta["free"] == {"x": [0]}  # where to start, not what to keep to
    assert from_onnx(path, sizes=[(None, 3, 70, 50)]).meta["free"] == {"x": [0]}
    with pytest.raises(SettingError, match="axis 3 of 'x' is 50 in the file, came 60"):
        from_onnx(path, sizes={"x": (2, 3, 70, 60)})
    with pytest.raises(SettingError, match=r"a shape for each input \(x\), came 2"):
        from_onnx(path, sizes=[(2, 3, 70, 60), (1,)])
    with pytest.raises(SettingError, match="no free size 'heigth'; did you mean 'height'"):
        from_onnx(path, sizes={"heigth": 70})
    with pytest.raises(SettingError, match="has 4 axes"):
        from_onnx(path, sizes={"x": (3, 70, 50)})
    with pytest.raises(SettingError, match="at least 1"):
        from_onnx(path, sizes={"height": 0})


def test_an_input_without_a_shape(tmp_path: Path) -> None:
    proto = MODELS["cnn"]()
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    network = from_onnx(written(proto, tmp_path), sizes={"x": (1, 3, 20, 20)})
    assert outputs_of(network, random(1, 3, 20, 20))[0].shape == (1, 5)
    proto.graph.node[0].op_type = "Relu"
    with pytest.raises(UnsupportedError, match="does not say how many axes 'x' has"):
        from_onnx(written(proto, tmp_path))


def test_a_batch_that_is_baked_in_becomes_fixed(tmp_path: Path) -> None:
    text = "g (float[N, 4] x) => (float[2, 2, 4] y) { s = Constant<value = int64[3] {2, 2, 4}>()  y = Reshape(x, s) }"
    network = from_onnx(written(model(text), tmp_path))
    assert network.meta["free"] == {"x": []}
    (note,) = network.meta["notes"]
    assert note.startswith("'N' (axis 0 of 'x') is fixed at 4: with other sizes, 'y' (Reshape): expected elements")


NODES_THAT_FIX = {
    "a reshape to one row": (
        """g (float[N, 3, 7] x) => (float[1, 2] y) {
            s = Constant<value = int64[2] {1, -1}>()
            rows = Reshape(x, s)
            y = Gemm(rows, m)
        }""",
        {"m": (21, 2)},
        r"'N' \(axis 0 of 'x'\) is fixed at 1: with other sizes, 'rows' fixes it, Reshape\(\(1, -1\), .*'y' \(Gemm\)",
    ),
    "a size that a branch hangs on": (
        """g (float[N, L] x) => (float[N, L] y) {
            s = Shape(x)
            one = Constant<value = int64 {1}>()
            length = Gather(s, one)
            most = Constant<value = int64 {20}>()
            longer = Greater(length, most)
            y = If(longer) <
                then_branch = t () => (float[N, L] u) { u = Relu(x) },
                else_branch = e () => (float[N, L] o) { o = Identity(x) }
            >
        }""",
        {},
        r"'L' \(axis 1 of 'x'\) is fixed at 16: with other sizes, 'longer' \(Greater\): a comparison hangs on",
    ),
    "a matrix behind a flattened picture": (
        """g (float[1, 3, H, 32] x) => (float[1, 2] y) { f = Flatten(x)  y = Gemm(f, m) }""",
        {"m": (3 * 64 * 32, 2)},
        r"'H' \(axis 2 of 'x'\) is fixed at 64: .* 'y' \(Gemm\).*\naxis 0 of 'x' is fixed at 1 by the file itself",
    ),
    "a weight of two rows, which takes a batch of one": (
        "g (float[N, 4] x) => (float[2, 4] y) { y = Add(x, two) }",
        {"two": (2, 4)},
        r"'N' \(axis 0 of 'x'\) is fixed at 1: with other sizes, 'y' \(Add\)",
    ),
}


@pytest.mark.parametrize(("text", "weights", "expected"), NODES_THAT_FIX.values(), ids=NODES_THAT_FIX)
def test_the_node_that_fixes_a_size_is_named(
    text: str, weights: dict[str, tuple[int, ...]], expected: str, tmp_path: Path
) -> None:
    notes = "\n".join(from_onnx(written(model(text, **weights), tmp_path)).meta["notes"])
    assert re.match(expected, notes), notes


def test_nothing_is_noted_where_all_stays_free(tmp_path: Path) -> None:
    assert "notes" not in from_onnx(written(MODELS["cnn"](), tmp_path)).meta


def test_a_largest_size_leaves_the_axis_free(tmp_path: Path) -> None:
    """Positions for 20 steps: the second trial must not be longer."""
    text = """g (float[N, L, 4] x) => (float[N, L, 4] y) {
        s = Shape(x)
        one = Constant<value = int64[1] {1}>()
        zero = Constant<value = int64[1] {0}>()
        two = Constant<value = int64[1] {2}>()
        l = Slice(s, one, two)
        p = Slice(table, zero, l, zero)
        y = Add(x, p)
    }"""
    path = written(model(text, table=(20, 4)), tmp_path)
    network = from_onnx(path)
    assert network.meta["free"] == {"x": [0, 1]}
    for length in (3, 20):
        x = random(2, length, 4)
        assert error(outputs_of(network, x), expected_of(path, x)) < 1e-6


def test_shapes_become_formulas_and_no_nodes(tmp_path: Path) -> None:
    network = from_onnx(written(MODELS["shapes"](), tmp_path))
    assert [repr(network.blocks[name]) for name in ("y", "z")] == [
        "Reshape((-1, 2))",
        "Resize(size=('a2*2', 'a3*2'))",
    ]


def test_a_shape_as_an_output_is_made_of_numbers(tmp_path: Path) -> None:
    text = """g (float[N, 4, H, 7] x) => (int64[4] y, float[2] z) {
        y = Shape(x)
        places = Constant<value = int64[2] {0, 2}>()
        s = Gather(y, places)
        f = Cast<to = 1>(s)
        half = Constant<value = float {0.5}>()
        z = Mul(f, half)
    }"""
    network = from_onnx(written(model(text), tmp_path))
    shape, half = outputs_of(network, random(3, 4, 9, 7))
    assert shape.tolist() == [3, 4, 9, 7]
    assert half.tolist() == [1.5, 4.5]
