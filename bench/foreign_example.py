"""What a model of another package is tried with: inputs of several sizes."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Example(NamedTuple):
    """What a model takes."""

    inputs: tuple[Tensor, ...]
    keywords: dict[str, Tensor]


Built = tuple[nn.Module, Example, dict[str, Example]]
"""(module, example, examples of other sizes by title)"""


class Family(NamedTuple):
    """The models of one package."""

    names: Callable[[], Iterable[str]]
    build: Callable[[str], Built]


def pictures(module: nn.Module, channels: int, side: int) -> Built:
    """A module for pictures, tried with another batch and with larger pictures."""

    def example(n: int, height: int, width: int) -> Example:
        return Example((torch.randn(n, channels, height, width),), {})

    others = {"batch": example(3, side, side), "size": example(2, side + 64, side + 32)}
    return module, example(1, side, side), others


def import_torchvision() -> Any:
    """torchvision; where its wheel does not find the libraries of a GPU, without kernels for detection."""
    try:
        import torchvision
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision
