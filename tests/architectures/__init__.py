"""Small versions of well-known networks, written from their papers as users of torch write them, with random weights.

ARCHITECTURES: whole networks, with the paper's topology and a fraction of its channels.
SPELLINGS: tiny modules, each for one of the many ways to write one thing.
"""

from tests.architectures import (
    alexnet,
    convnext,
    densenet,
    efficientnet,
    googlenet,
    gpt,
    inception,
    lenet,
    mixer,
    mobilenet,
    recurrent,
    resnet,
    segmentation,
    shufflenet,
    squeezenet,
    superresolution,
    swin,
    temporal,
    transformer,
    unet,
    vgg,
    vit,
)
from tests.architectures.architecture import Architecture, resized
from tests.architectures.spellings import SPELLINGS

ARCHITECTURES: dict[str, Architecture] = (
    lenet.ARCHITECTURES
    | alexnet.ARCHITECTURES
    | vgg.ARCHITECTURES
    | googlenet.ARCHITECTURES
    | inception.ARCHITECTURES
    | squeezenet.ARCHITECTURES
    | resnet.ARCHITECTURES
    | densenet.ARCHITECTURES
    | mobilenet.ARCHITECTURES
    | efficientnet.ARCHITECTURES
    | convnext.ARCHITECTURES
    | shufflenet.ARCHITECTURES
    | unet.ARCHITECTURES
    | segmentation.ARCHITECTURES
    | superresolution.ARCHITECTURES
    | vit.ARCHITECTURES
    | swin.ARCHITECTURES
    | mixer.ARCHITECTURES
    | transformer.ARCHITECTURES
    | gpt.ARCHITECTURES
    | recurrent.ARCHITECTURES
    | temporal.ARCHITECTURES
)

__all__ = ["ARCHITECTURES", "SPELLINGS", "Architecture", "resized"]
