"""Tensors in the file: their types of number, and their elements, also from files beside the model."""

import math
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import Tensor

from blockprop.errors import FormatError, UnsupportedError

_DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BOOL: torch.bool,
}
SHARED, FEW_BYTES = 2, 2**26
"""So often the bytes of a file beside the model are read at most, or so many of them."""
LARGEST_TENSOR = 2**31
"""Elements of a tensor; a file's claim to more is not believed."""


def dtype_of(number: int) -> torch.dtype:
    """torch's type for ONNX' number of a type; UnsupportedError if it has none."""
    if number not in _DTYPES:
        name = TensorProto.DataType.Name(number) if number in TensorProto.DataType.values() else str(number)
        raise UnsupportedError(f"numbers of the type {name}")
    return _DTYPES[number]


def number_of(dtype: torch.dtype) -> int:
    """ONNX' number of torch's type."""
    return next(number for number, known in _DTYPES.items() if known == dtype)


def tensor_of(proto: TensorProto, folder: Path) -> Tensor:
    """The tensor, from the file itself or from the one beside it that it names. FormatError if it is damaged."""
    dtype = dtype_of(proto.data_type)
    if any(size < 0 for size in proto.dims) or math.prod(proto.dims) > LARGEST_TENSOR:
        raise FormatError(f"the tensor {proto.name!r} claims a shape of {list(proto.dims)}")
    if proto.data_location == TensorProto.EXTERNAL:
        proto = _with_data(proto, dtype, folder)
    elif proto.HasField("raw_data") and len(proto.raw_data) != math.prod(proto.dims) * dtype.itemsize:
        raise FormatError(
            f"the tensor {proto.name!r} of shape {list(proto.dims)} has {len(proto.raw_data)} bytes, "
            f"not {math.prod(proto.dims) * dtype.itemsize}"
        )
    try:
        array: Any = onnx.numpy_helper.to_array(proto)
        array = np.array(array)  # a copy of its own, writable
    except Exception as error:  # whatever a damaged tensor sets off in the reader is one and the same to the user
        raise FormatError(f"the tensor {proto.name!r} of shape {list(proto.dims)} is damaged ({error})") from None
    if dtype is torch.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    tensor = torch.from_numpy(array)
    if tensor.dtype is not dtype:
        raise FormatError(f"the tensor {proto.name!r} is {tensor.dtype}, but claims to be {dtype}")
    return tensor


def require_once(protos: Iterable[TensorProto], folder: Path) -> None:
    """FormatError if the tensors take more bytes of the files beside the model than these have: each is read by itself,
    so that many which share their bytes would fill the memory.
    """
    wanted: Counter[str] = Counter()
    for proto in protos:
        if proto.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in proto.external_data}
            with suppress(UnsupportedError):
                size = math.prod(max(size, 0) for size in proto.dims) * dtype_of(proto.data_type).itemsize
                wanted[entries.get("location", "")] += size
    for location, size in wanted.items():
        there = _inside(folder, location, location).stat().st_size
        if size > max(SHARED * there, FEW_BYTES):
            raise FormatError(f"its tensors take {size:,} bytes of {location}, which has {there:,}")


def _with_data(proto: TensorProto, dtype: torch.dtype, folder: Path) -> TensorProto:
    """The tensor with the bytes of the file that it names."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    path = _inside(folder, entries.get("location", ""), proto.name)
    wanted = math.prod(proto.dims) * dtype.itemsize
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", wanted))
        size = path.stat().st_size
        if offset < 0 or length != wanted or offset + length > size:
            raise FormatError(
                f"the tensor {proto.name!r} needs {wanted} bytes from {offset} on in {path}, which has {size} "
                f"(the model says {length})"
            )
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(length)
    except (OSError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the tensor {proto.name!r} cannot be read from {path} ({error})") from None
    whole = TensorProto(name=proto.name, data_type=proto.data_type, raw_data=content)
    whole.dims.extend(proto.dims)
    return whole


def _inside(folder: Path, location: str, name: str) -> Path:
    """The path of a file in the model's folder; FormatError if it leads out of it, by "..", or by a link."""
    root = Path(os.path.realpath(folder))
    path = root / location
    if not location or "\0" in location or Path(location).is_absolute() or ".." in Path(location).parts:
        raise FormatError(f"the tensor {name!r} is kept in {location!r}, which does not lie in the model's folder")
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise FormatError(f"the tensor {name!r} is kept in {location!r}, a link that leads out of the model's folder")
    if not path.is_file():
        raise FormatError(f"the tensor {name!r} is kept in {path}, which does not exist")
    return path
