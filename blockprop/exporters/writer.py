"""One ONNX file in the making: its operators, weights and constants, and names that no two of them share."""

import math
from collections.abc import Sequence

import torch
from onnx import NodeProto, TensorProto
from torch import Tensor

TYPES: dict[torch.dtype, int] = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.int8: TensorProto.INT8,
    torch.int16: TensorProto.INT16,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
    torch.uint8: TensorProto.UINT8,
    torch.bool: TensorProto.BOOL,
}
"""ONNX' number of each type of number."""


class Writer:
    """Operators, weights and constants of one file in the making.

    names: of the network's inputs and outputs of nodes, which nothing else may have
    outputs: those that are the network's outputs
    """

    def __init__(self, opset: int, names: Sequence[str], outputs: Sequence[str]):
        self.opset, self.outputs = opset, frozenset(outputs)
        self.nodes: list[NodeProto] = []
        self.tensors: dict[str, Tensor] = {}
        self.sizes: dict[tuple[str, int], str] = {}
        """Names of the sizes of axes that some operator finds out already."""
        self._taken = set(names)
        self._titles: set[str] = set()

    def unique(self, name: str) -> str:
        """The name, or name#2, … if it is taken."""
        return _unique(name, self._taken)

    def title(self, name: str) -> str:
        """A name for an operator that no other has."""
        return _unique(name, self._titles)

    def tensor(self, name: str, tensor: Tensor) -> str:
        """A tensor of the file. One that is there already under the name is used again if it is the same."""
        number = 1
        title = name
        while title in self.tensors or title in self._taken:
            if title in self.tensors and _same(self.tensors[title], tensor):
                return title
            number += 1
            title = f"{name}#{number}"
        self.tensors[title] = tensor
        return title


def as_proto(name: str, tensor: Tensor, with_data: bool = True) -> TensorProto:
    """The tensor as ONNX has it, without its data if they are kept elsewhere."""
    proto = TensorProto(name=name, data_type=TYPES[tensor.dtype], dims=tensor.shape)
    if with_data:
        proto.raw_data = bytes_of(tensor)
    return proto


def bytes_of(tensor: Tensor) -> bytes:
    """The numbers as ONNX stores them."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()


def _unique(name: str, taken: set[str]) -> str:
    number, title = 1, name
    while title in taken:
        number += 1
        title = f"{name}#{number}"
    taken.add(title)
    return title


def _same(a: Tensor, b: Tensor) -> bool:
    if a is b:
        return True
    same = a.shape == b.shape and a.dtype == b.dtype
    return same and (torch.equal(a, b) or (a.dim() == 0 and math.isnan(a.item()) and math.isnan(b.item())))
