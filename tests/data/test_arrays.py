"""Arrays: layouts, scaling, labels, and every way a file can be wrong."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from blockprop.data.arrays import examples
from blockprop.data.labels import labels
from blockprop.data.reading import read_data
from blockprop.errors import DataError


def write(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


def pixels(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("data_train", "target_train", "data_test", "target_test"),
    ],
)
def test_npz_with_train_and_test(tmp_path: Path, names: tuple[str, ...]) -> None:
    arrays = (pixels(3, 2, 2), np.array([0, 1, 0], np.uint8), pixels(2, 2, 2), np.array([1, 1]))
    data = read_data(write(tmp_path / "d.npz", **dict(zip(names, arrays, strict=True))), test_fraction=0.5)
    assert data.train.x.shape == (3, 1, 2, 2)
    assert data.train.x.dtype == torch.float32
    assert torch.allclose(data.train.x[1, 0], torch.tensor([[4.0, 5.0], [6.0, 7.0]]) / 255)
    assert data.train.y.tolist() == [0, 1, 0]
    assert data.train.y.dtype == torch.int64
    assert data.train.classes == data.test.classes == ("0", "1")
    assert data.test.y.tolist() == [1, 1]
    assert data.encoder is None


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("data", "target"), ("images", "labels")])
def test_npz_with_one_part(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write(tmp_path / "d.npz", **{names[0]: np.eye(4), names[1]: np.arange(4) % 2, "other": np.zeros(9)})
    data = read_data(path)
    assert data.test is None
    assert torch.equal(data.train.x, torch.eye(4))
    data = read_data(path, test_fraction=0.5)
    assert (len(data.train), len(data.test)) == (2, 2)
    assert data.test.y.sort().values.tolist() == [0, 1]


def test_npz_names_of_classes_and_text_labels(tmp_path: Path) -> None:
    x = np.zeros((3, 2))
    named = read_data(
        write(tmp_path / "a.npz", x=x, y=np.array([0, 0, 1]), class_names=np.array(["cat", "dog", "eel"]))
    )
    assert named.train.classes == ("cat", "dog", "eel")
    texts = read_data(write(tmp_path / "b.npz", x=x, y=np.array(["dog", "cat", "dog"])))
    assert texts.train.classes == ("cat", "dog")
    assert texts.train.y.tolist() == [1, 0, 1]


def test_npz_targets(tmp_path: Path) -> None:
    data = read_data(write(tmp_path / "d.npz", x=np.zeros(3), y=np.array([0.5, 1.5, -2])))
    assert data.train.x.shape == (3, 1)
    assert data.train.y.tolist() == [0.5, 1.5, -2]
    assert data.train.y.dtype == torch.float32
    assert data.train.classes is None


def test_npz_without_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", x_train=np.zeros((2, 3)), x_test=np.ones((1, 3)))
    data = read_data(path, need_labels=False)
    assert data.train.y is None
    assert data.test.x.tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(DataError, match=r"d\.npz: has examples \(x_train\) but no labels; expected 'y_train'"):
        read_data(path)


x3 = np.zeros((3, 2))
BAD = {
    "lengths": ({"x": x3, "y": [0, 1]}, r"x holds 3 examples but y 2 labels"),
    "single label": ({"x": x3, "y": 1}, r"x holds 3 examples but y 1 labels"),
    "negative": ({"x": x3, "y": [0, 1, -1]}, r"y: expected class numbers from 0 to .* got -1 in row 3"),
    "huge": ({"x": x3, "y": [0, 10**9, 1]}, r"targets that are not classes must be floats\), got 1000000000 in row 2"),
    "nan label": ({"x": x3, "y": [0, np.nan, 1]}, r"y: expected a number in each row, got nan in row 2"),
    "unknown test class": (
        {"x_train": x3, "y_train": [0, 1, 1], "x_test": x3, "y_test": [0, 1, 2]},
        r"y_test: expected class numbers from 0 to 1, got 2 in row 3",
    ),
    "broken test class": (
        {"x_train": x3, "y_train": [0, 1, 1], "x_test": x3, "y_test": [0, 1, 0.5]},
        r"y_test: expected whole class numbers, got 0.5 in row 3",
    ),
    "unknown test name": (
        {"x_train": x3, "y_train": ["a", "b", "b"], "x_test": x3, "y_test": ["a", "c", "b"]},
        r"y_test: unknown class 'c' in row 2; expected a, b",
    ),
    "nan": ({"x": [[1, 2], [3, np.nan]], "y": [0, 1]}, r"x: row 2 of 2 holds nan; remove or fill in"),
    "infinite": ({"x": [[np.inf, 2], [3, 4]], "y": [0, 1]}, r"x: row 1 of 2 holds inf"),
    "too large": ({"x": [[1e300, 2], [3, 4]], "y": [0, 1]}, r"x: row 1 of 2 holds inf"),
    "text": ({"x": ["a", "b"], "y": [0, 1]}, r"x: expected numbers, got <U1"),
    "empty": ({"x": np.zeros((0, 3)), "y": []}, r"x: expected at least one example, got an array of 0 x 3"),
    "no examples": ({"a": x3}, r"expected arrays x and y, or x_train and y_train; it holds a"),
    "channels": (
        {"x": np.zeros((2, 4, 5, 2), np.uint8), "y": [0, 1]},
        r"1 channel \(gray\) or 3 \(RGB\), .* 2 x 4 x 5 x 2",
    ),
    "pixels": ({"x": np.full((2, 4, 4), 300), "y": [0, 1]}, r"x: expected pixels in 0 to 255, got 300 to 300"),
    "labels in a cube": ({"x": x3, "y": np.zeros((3, 2, 2))}, r"y: expected one label for each row, got 3 x 2 x 2"),
    "class table": ({"x": x3, "y": [[1, 2], [0, 0], [1, 0]]}, "regression"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_npz_with_wrong_arrays(tmp_path: Path, arrays: dict, message: str) -> None:
    path = write(tmp_path / "d.npz", **arrays)
    if message == "regression":
        assert read_data(path).train.output_count == 2
        return
    with pytest.raises(DataError, match=message) as caught:
        read_data(path)
    assert str(path) in str(caught.value)


def test_npz_that_cannot_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", x=np.random.default_rng(0).random((20, 20)), y=np.zeros(20, np.int64))
    content = path.read_bytes()
    for length in range(1, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"d\.npz: expected a complete \.npz file"):
            read_data(path)
    path.write_bytes(content.replace(b"'shape': (20, 20)", b"'shape': (99, 99)"))
    with pytest.raises(DataError, match=r"expected a complete \.npz file"):
        read_data(path)


def test_npz_runs_no_pickled_code(tmp_path: Path) -> None:
    path = write(tmp_path / "d.npz", x=np.array([{"a": 1}, None], dtype=object), y=[0, 1])
    with pytest.raises(DataError, match=r"plain arrays \(Object arrays cannot be loaded"):
        read_data(path)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 4, 5), (2, 1, 4, 5)),
        ((2, 4, 5, 1), (2, 1, 4, 5)),
        ((2, 4, 5, 3), (2, 3, 4, 5)),
        ((2, 1, 4, 5), (2, 1, 4, 5)),
        ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((2, 6), (2, 6)),
        ((2,), (2, 1)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_layouts(shape: tuple[int, ...], expected: tuple[int, ...], dtype: type) -> None:
    array = pixels(*shape).astype(dtype)
    x = examples(array, "x")
    assert tuple(x.shape) == expected
    scale = 255 if dtype is np.uint8 else 1
    if shape[-1] == 3 and len(shape) == 4:
        assert x[1, 2, 3, 4].item() == pytest.approx(array[1, 3, 4, 2] / scale)
    assert x.sum().item() == pytest.approx(array.astype(float).sum() / scale, rel=1e-5)


@pytest.mark.parametrize(("dtype", "white"), [(np.int64, 255), (np.uint16, 65535), (np.uint8, 255)])
def test_white_is_one(dtype: type, white: int) -> None:
    assert examples(np.full((1, 2, 2), white, dtype), "x").unique().tolist() == [1.0]


def test_whole_numbers_in_tables_and_truth_values_are_not_scaled() -> None:
    assert examples(np.array([[3, 700]]), "x").tolist() == [[3.0, 700.0]]
    assert examples(np.array([[True, False]]), "x").tolist() == [[1.0, 0.0]]


def test_labels_are_decided_by_their_numbers() -> None:
    one_hot = np.array([[0, 1, 0], [0, 0, 1]], np.float32)
    assert labels(one_hot, "y")[0].tolist() == [1, 2]
    assert labels(one_hot, "y")[1] == ("0", "1", "2")
    assert labels(one_hot, "y", task="regress")[0].shape == (2, 3)
    assert labels(np.array([[2], [0]]), "y")[0].tolist() == [2, 0]
    assert labels(np.array([0.0, 1.0, 1.0, 0.0]), "y")[0].dtype == torch.int64
    assert labels(np.arange(50.0), "y")[1] is None
    assert labels(np.arange(50.0), "y", task="classify")[1] == tuple(map(str, range(50)))
    assert labels(np.array([0, 1]), "y", task="regress")[0].dtype == torch.float32
    assert labels(np.array([True, False]), "y")[0].tolist() == [1, 0]
    assert labels(np.array([b"b", b"a"]), "y")[1] == ("a", "b")


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels(4, 2, 3)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([3, 0, 1, 3], np.uint8)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels(2, 2, 3))))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 2], np.uint8))))
    return tmp_path


def test_idx_folder(mnist: Path) -> None:
    data = read_data(mnist)
    assert data.train.x.shape == (4, 1, 2, 3)
    assert data.train.x[0].flatten().tolist() == pytest.approx([i / 255 for i in range(6)])
    assert data.train.y.tolist() == [3, 0, 1, 3]
    assert data.test.y.tolist() == [1, 2]
    assert data.test.classes == ("0", "1", "2", "3")


def test_idx_file(mnist: Path) -> None:
    for name, count in (("train-images-idx3-ubyte", 4), ("t10k-images-idx3-ubyte.gz", 2)):
        data = read_data(mnist / name)
        assert len(data.train) == count
        assert data.test is None


def test_idx_without_labels(mnist: Path) -> None:
    (mnist / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"labels file train-labels-idx1-ubyte \(or .*\.gz\) is missing"):
        read_data(mnist)
    assert read_data(mnist / "train-images-idx3-ubyte", need_labels=False).train.y is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(pixels(4, 2, 3))[:-1], "promises 24 bytes, but there are only 23"),
        (idx(pixels(4, 2, 3)) + b"1", "promises 24 bytes, but there are more"),
        (b"\0\0\x08", "expected an IDX file"),
        (b"PNG.............", "expected an IDX file"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "claims .* bytes"),
        (idx(pixels(3, 2, 3)), "holds 3 images but train-labels-idx1-ubyte 4 labels"),
        (idx(pixels(0, 2, 3)), "at least one example"),
    ],
)
def test_idx_that_is_wrong(mnist: Path, content: bytes, message: str) -> None:
    (mnist / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_data(mnist)
    assert "train-images-idx3-ubyte" in str(caught.value)


def test_idx_damaged_gz(mnist: Path) -> None:
    path = mnist / "t10k-images-idx3-ubyte.gz"
    content = path.read_bytes()
    for broken in (content[:-9], b"no gzip at all", content[:12] + b"\xff\xff\xff" + content[15:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: "):
            read_data(path)


def test_a_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, y=np.arange(3))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x", b"text")
    with pytest.raises(DataError, match=r"data\.npz: expected a complete \.npz file of plain arrays \(x is no array\)"):
        read_data(path)
