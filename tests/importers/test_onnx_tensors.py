"""Tensors in the file: their types of number, and elements that are kept beside it."""

from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper

from blockprop.errors import FormatError
from blockprop.importers import from_onnx
from tests.importers.onnx_models import error, expected_of, model, node, outputs_of, random, written


@pytest.mark.parametrize("number", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_types_of_number_are_kept(number: int, tmp_path: Path) -> None:
    dtype = {TensorProto.FLOAT16: torch.float16, TensorProto.BFLOAT16: torch.bfloat16}.get(number, torch.float64)
    weight = helper.make_tensor("w", number, (4, 2), [0.5, 1, 2, -1, 0.25, 3, -2, 1])
    graph = helper.make_graph(
        [node("MatMul", "x", "w")],
        "g",
        [helper.make_tensor_value_info("x", number, ("N", 4))],
        [helper.make_tensor_value_info("y", number, ("N", 2))],
        [weight],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    network = from_onnx(written(proto, tmp_path))
    y = network(torch.ones(1, 4, dtype=dtype))
    assert y.dtype == dtype
    assert y.tolist() == [[0.75, 4.0]]


def _with_external_data(folder: Path, **entries: str) -> Path:
    """A model whose weight lies in weights.bin; entries change what the model says of that file."""
    proto = model("g (float[N, 4] x) => (float[N, 2] y) { y = Gemm(x, w) }", w=(4, 2))
    tensor = proto.graph.initializer[0]
    (folder / "weights.bin").write_bytes(b"1234" + tensor.raw_data)
    for key, value in ({"location": "weights.bin", "offset": "4", "length": "32"} | entries).items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return written(proto, folder)


def test_weights_beside_the_file(tmp_path: Path) -> None:
    path, x = _with_external_data(tmp_path), random(3, 4)
    assert error(outputs_of(from_onnx(path), x), expected_of(path, x)) < 1e-6
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(FormatError, match=r"kept in .*weights\.bin, which does not exist"):
        from_onnx(path)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", "", "a\0b"])
def test_no_weights_from_outside_the_model_s_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(FormatError, match="does not lie in the model's folder"):
        from_onnx(_with_external_data(tmp_path / "inner", location=location))


def test_no_weights_through_a_link_that_leads_out(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(100))
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(FormatError, match="a link that leads out"):
        from_onnx(_with_external_data(tmp_path / "inner", location="link.bin"))


@pytest.mark.parametrize("entry", ["length 31", f"length {2**60}", "offset -1", "offset 5", "offset a"])
def test_external_data_of_another_size(entry: str, tmp_path: Path) -> None:
    key, value = entry.split()
    with pytest.raises(FormatError, match=r"weights\.bin"):
        from_onnx(_with_external_data(tmp_path, **{key: value}))
