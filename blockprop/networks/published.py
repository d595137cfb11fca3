"""A table of published networks: facts alone. `fetching.fetch_published` gets them."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Published:
    """A published file: where it is, what tells that it is the right one, and how to use it.

    kind: of file, "onnx" or "safetensors".
    preprocessing: what the network wants to see of a picture, in the words of architectures.PREPROCESSING.
    classes: whose classes it tells, "imagenet", or "" if it tells none.
    """

    url: str
    sha256: str
    size: int
    file: str
    license: str
    kind: str
    preprocessing: dict[str, Any]
    classes: str


_ZOO = "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/"
_MIDDLE = {"size": (224, 224), "shorter_side": 256}
_TORCH = {"range": 1.0, "mean": (0.485, 0.456, 0.406), "scale": (0.229, 0.224, 0.225), "channels": "RGB"}
_PIXELS = {"range": 255.0, "mean": (0.0, 0.0, 0.0), "scale": (1.0, 1.0, 1.0), "channels": "RGB"}
_ANY_SIZE = {"size": None, "shorter_side": None}


def _onnx(path: str, sha256: str, size: int, license: str, preprocessing: dict[str, Any]) -> Published:
    classes = "imagenet" if path.startswith("classification/") else ""
    return Published(_ZOO + path, sha256, size, PurePosixPath(path).name, license, "onnx", preprocessing, classes)


PUBLISHED: dict[str, Published] = {
    "googlenet": _onnx(
        "classification/inception_and_googlenet/googlenet/model/googlenet-12.onnx",
        "c99c507058eaf41de8723408fdda7db8325cb57f0a89f2ee07a716d6e963e14e",
        28_021_836,
        "BSD-3-Clause",
        # Its description squeezes the whole picture into 224 x 224; this keeps proportions.
        {"size": (224, 224), "shorter_side": 224}
        | {"range": 255.0, "mean": (103.939, 116.779, 123.68), "scale": (1.0, 1.0, 1.0), "channels": "BGR"},
    ),
    "mobilenetv2": _onnx(
        "classification/mobilenet/model/mobilenetv2-7.onnx",
        "c1c513582d56afceff8516c73804e484c81c6a830712ab6d682253f4a3cd042f",
        14_246_826,
        "Apache-2.0",
        _MIDDLE | _TORCH,
    ),
    "resnet18": _onnx(
        "classification/resnet/model/resnet18-v1-7.onnx",
        "4e8f8653e7a2222b3904cc3fe8e304cd8b339ce1d05fd24688162f86fb6df52c",
        46_820_737,
        "Apache-2.0",
        _MIDDLE | _TORCH,
    ),
    "resnet50": _onnx(
        "classification/resnet/model/resnet50-v1-12.onnx",
        "3f03fdef724b22947eed826f1eef1dc5c34151bb4c37d634f1db89dfa2dd1526",
        102_576_593,
        "Apache-2.0",
        _MIDDLE | _TORCH,
    ),
    "shufflenet_v2": _onnx(
        "classification/shufflenet/model/shufflenet-v2-10.onnx",
        "8b85e969a0a5518b554c99548379d1ba54d973733a6a12012138d91852308584",
        9_218_554,
        "BSD-3-Clause",
        _MIDDLE | _TORCH,
    ),
    "squeezenet1_1": _onnx(
        "classification/squeezenet/model/squeezenet1.1-7.onnx",
        "1eeff551a67ae8d565ca33b572fc4b66e3ef357b0eb2863bb9ff47a918cc4088",
        4_956_208,
        "Apache-2.0",
        _MIDDLE | _TORCH,
    ),
    "style_candy": _onnx(
        "style_transfer/fast_neural_style/model/candy-9.onnx",
        "9d11a3529d1e547da6ae07201d93484dbab2ec0a3614535752c8f40f0fe2968a",
        6_728_029,
        "BSD-3-Clause",
        _ANY_SIZE | _PIXELS,
    ),
    "style_mosaic": _onnx(
        "style_transfer/fast_neural_style/model/mosaic-9.onnx",
        "fa646dedade881243f8d5a2ceb7de2b93675b21fc24f7482894ac4851a9a0a47",
        6_728_029,
        "BSD-3-Clause",
        _ANY_SIZE | _PIXELS,
    ),
    "vgg19": _onnx(
        "classification/vgg/model/vgg19-7.onnx",
        "692f9f927f1df1b89033787a77a73eac59fd9b3344f9ecdf0b13221e41c2046f",
        574_677_321,
        "Apache-2.0",
        _MIDDLE | _TORCH,
    ),
}
"""Networks of the ONNX model zoo.

Size and SHA-256 are those that github.com/onnx/models states in its Git LFS pointers, license and preprocessing those
of each model's description there. The files come from the zoo's mirror, because that repository no longer gives them
away itself (its README: not after July 1st, 2025).
"""
