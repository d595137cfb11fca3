"""What `to_onnx` writes about a network's ends, `from_onnx` reads again."""

from pathlib import Path

import onnx
import pytest
import torch

from blockprop.blocks import Conv2d, GlobalAvgPool
from blockprop.engine.about import About
from blockprop.engine.sequential import Sequential
from blockprop.exporters import to_onnx
from blockprop.importers import from_onnx
from blockprop.pictures.framing import preprocessing_of, takes_any_size
from blockprop.pictures.photos import with_preprocessing
from blockprop.pictures.preprocessing import Preprocessing


def test_what_a_network_says_of_its_ends_survives_the_way_through_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = Sequential({"conv": Conv2d(3, 4, 3), "pool": GlobalAvgPool()})
    plain.meta = About(shape=[3, 8, 8], free={"x": [0, 2, 3]})
    sees = Preprocessing(8, 255.0, (104, 117, 123), channels="BGR")
    network = with_preprocessing(plain, sees, list("abcd"))
    to_onnx(network, tmp_path / "a.onnx")
    again = from_onnx(tmp_path / "a.onnx")
    assert again.meta["classes"] == list("abcd")
    assert preprocessing_of(again) == sees
    assert takes_any_size(again)
    x = torch.rand(2, 3, 10, 9)
    torch.testing.assert_close(again(x), network(x))


@pytest.mark.parametrize("text", ["", "not JSON", "[1, 2]", '{"classes": 3}'])
def test_metadata_of_others_is_no_harm(tmp_path: Path, text: str) -> None:
    to_onnx(Sequential({"pool": GlobalAvgPool()}), tmp_path / "a.onnx", shape=(3, 8, 8))
    model = onnx.load(tmp_path / "a.onnx")
    onnx.helper.set_model_props(model, {"blockprop": text})
    onnx.save(model, tmp_path / "a.onnx")
    assert "classes" not in from_onnx(tmp_path / "a.onnx").meta
