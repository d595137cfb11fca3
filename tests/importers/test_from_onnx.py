"""ONNX files: whole networks beside onnxruntime."""

import glob
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import ModelProto
from torch import Tensor

from blockprop import check_network, cross_entropy, load, mean_squared_error, save
from blockprop.importers import from_onnx
from tests.architectures import ARCHITECTURES, resized
from tests.conftest import DataFile
from tests.importers.onnx_models import MODELS, error, expected_of, outputs_of, random, written

FILES: dict[str, tuple[float, list[tuple[int, ...]], list[int]]] = {
    "squeezenet1_1": (60.0, [(1, 3, 227, 227), (2, 3, 97, 131), (5, 3, 300, 260)], [0, 2, 3]),
    "googlenet_bvlc": (60.0, [(1, 3, 224, 224), (3, 3, 224, 224)], [0]),
    "mnist_cntk": (100.0, [(1, 1, 28, 28)], []),
    "cifar_tutorial": (1.0, [(1, 3, 32, 32), (7, 3, 32, 32)], [0]),
    "ultraface_rfb_320": (1.0, [(1, 3, 240, 320)], []),
}
"""deviation of the input, shapes, free axes"""


@pytest.mark.parametrize("name", FILES)
def test_real_files_compute_what_onnxruntime_computes(name: str, data_file: DataFile) -> None:
    path = data_file(f"onnx/{name}.onnx")
    deviation, shapes, free = FILES[name]
    network = from_onnx(path)
    assert network.meta["free"] == {network.inputs[0]: free}
    for shape in shapes:
        x = deviation * random(*shape)
        assert error(outputs_of(network, x), expected_of(path, x)) < 1e-5


def test_operators_that_left_the_standard_are_read_where_old_files_have_them(data_file: DataFile) -> None:
    path, x = data_file("onnx/fns_candy.onnx"), 60 * random(1, 3, 720, 720)
    assert error(outputs_of(from_onnx(path), x), expected_of(path, x)) < 1e-4


@pytest.mark.slow
def test_the_old_file_is_as_exact_as_float32_allows(data_file: DataFile) -> None:
    """Fifteen instance norms lift rounding to 3e-5 of the output, in onnxruntime as well as here."""
    path = data_file("onnx/fns_candy.onnx")
    network, x = from_onnx(path), 60 * random(1, 3, 720, 720)
    exact = network.copy().to(dtype=torch.float64)(x.double()).float()
    theirs = error(expected_of(path, x), [exact])
    assert theirs < 1e-4
    assert error(outputs_of(network, x), [exact]) < 3 * theirs


def test_squeezenet_is_what_its_file_says(data_file: DataFile) -> None:
    network = from_onnx(data_file("onnx/squeezenet1_1.onnx"))
    assert network.inputs == ("data",)
    assert network.outputs == ("prob",)
    assert len(network.nodes) == 66
    assert network.meta["shape"] == [3, 224, 224]
    assert network.meta["source"] == {"format": "onnx", "opset": 13, "producer": "weights-to-onnx"}
    assert sum(p.numel() for p in network.parameters.values()) == 1_235_496


@pytest.mark.parametrize(("name", "size"), [("mnist_cntk", (1, 1, 28, 28)), ("cifar_tutorial", (2, 3, 32, 32))])
def test_real_files_go_back(name: str, size: tuple[int, ...], data_file: DataFile) -> None:
    network = from_onnx(data_file(f"onnx/{name}.onnx"))
    target = torch.arange(size[0])
    check_network(network, random(*size), objective=cross_entropy(), target=target).verify()


@pytest.mark.parametrize(("name", "seconds"), [("squeezenet1_1", 2), ("googlenet_bvlc", 5)])
def test_real_files_are_read_in_seconds(name: str, seconds: int, data_file: DataFile) -> None:
    """Not an assertion on a clock, but on a mistake: they take a tenth of it."""
    start = time.perf_counter()
    from_onnx(data_file(f"onnx/{name}.onnx"))
    assert time.perf_counter() - start < 5 * seconds


SIZES = ({"N": 2, "H": 16, "W": 24, "L": 7}, {"N": 3, "H": 40, "W": 18, "L": 4})


def input_of(proto: ModelProto, sizes: dict[str, int]) -> Tensor:
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    return random(*(dim.dim_value or sizes[dim.dim_param] for dim in dims))


@pytest.mark.parametrize("name", MODELS)
def test_small_models_at_several_sizes(name: str, tmp_path: Path) -> None:
    path = written(MODELS[name](), tmp_path)
    network = from_onnx(path)
    for sizes in SIZES:
        x = input_of(MODELS[name](), sizes)
        assert error(outputs_of(network, x), expected_of(path, x)) < 2e-6


@pytest.mark.parametrize("name", MODELS)
def test_small_models_are_saved_and_loaded(name: str, tmp_path: Path) -> None:
    network = from_onnx(written(MODELS[name](), tmp_path))
    save(network, tmp_path / "saved.safetensors")
    again, x = load(tmp_path / "saved.safetensors"), input_of(MODELS[name](), SIZES[0])
    assert again.meta == network.meta
    for mine, theirs in zip(outputs_of(again, x), outputs_of(network, x), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("name", ["cnn", "attention", "segmentation", "recurrent"])
def test_small_models_go_back(name: str, tmp_path: Path) -> None:
    network = from_onnx(written(MODELS[name](), tmp_path))
    x = input_of(MODELS[name](), {"N": 2, "H": 8, "W": 8, "L": 3})
    target = random(*outputs_of(network, x)[-1].shape, seed=1)
    check_network(network, x, objective=mean_squared_error(node=network.outputs[-1]), target=target).verify()


LIGHT = sorted(glob.glob(str(Path(onnx.__file__).parent / "backend/test/data/light/*.onnx")))


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: Path(path).stem)
@pytest.mark.slow
def test_the_package_s_known_networks(path: str) -> None:
    """AlexNet to VGG-19 as Caffe2 wrote them, with one number for all weights."""
    network, x = from_onnx(path), random(1, 3, 224, 224)
    assert error(outputs_of(network, x), expected_of(Path(path), x)) < 1e-5


CANNOT_BE_EXPORTED = {"mobilenet_v3_large", "mobilenet_v3_small", "mixer"}
TRACED_AT_ONE_LENGTH = {"encoder", "encoder_norm_first", "encoder_padded"}
"""torch's exporter writes their length into the graph, and says that it is free."""


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - CANNOT_BE_EXPORTED))
def test_architectures_as_torch_exports_them(name: str, opset: int, tmp_path: Path) -> None:
    architecture, path = ARCHITECTURES[name], tmp_path / "model.onnx"
    module, inputs = architecture.make(), architecture.inputs(torch.Generator().manual_seed(0))
    names = [f"x{i}" for i in range(len(inputs))]
    axes = {
        name: {axis: title for axis, title in enumerate(titles) if title in architecture.free}
        for name, titles in zip(names, architecture.axes, strict=True)
    }
    if not exported(module, inputs, path, opset, names, axes):
        pytest.skip("torch's exporter lacks an operator for this opset")
    lengths = {"batch": 2, "length": inputs[0].shape[1]} if name in TRACED_AT_ONE_LENGTH else None
    network = from_onnx(path, sizes=lengths)
    free = {axes[input][axis] for input, places in network.meta["free"].items() for axis in places}
    for sizes in ({}, {"batch": 3}, {"height": 96, "width": 160}, {"length": 5}):
        given = resized(architecture, inputs, sizes)
        if sizes.keys() <= free and allowed(module, given):
            assert error(outputs_of(network, *given[: len(network.inputs)]), expected_of(path, *given)) < 1e-4


def allowed(module: Any, inputs: Any) -> bool:
    """Whether the module takes inputs of these sizes."""
    try:
        with torch.no_grad():
            module(*inputs)
    except RuntimeError:
        return False
    return True


def exported(module: Any, inputs: Any, path: Path, opset: int, names: list[str], axes: Any) -> bool:
    """Write the file with torch's older exporter, which needs no further packages; False if it cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            torch.onnx.export(
                module, inputs, str(path), opset_version=opset, dynamo=False, input_names=names, dynamic_axes=axes
            )
        except (torch.onnx.OnnxExporterError, RuntimeError):
            return False
        finally:
            logging.disable(logging.NOTSET)
    return True
