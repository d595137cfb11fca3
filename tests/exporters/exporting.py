"""Networks written as ONNX, run by onnxruntime, and compared with what blockprop computes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto
from torch import Tensor

from blockprop import to_onnx
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.exporters.onnx_operators.table import HANDLERS
from tests.blocks.running import made
from tests.cases import CASES, Case

CLOSE = 1e-5
"""Errors relative to the largest number that goes in or comes out: float32 has seven digits."""
REFUSED = {
    "LSTM, projection": "ONNX' LSTM has no projection",
    "LSTM, projection, all directions": "ONNX' LSTM has no projection",
}
"""Rows whose block has no ONNX form at any opset."""
REFUSED_BEFORE = {
    18: ("Logic('and'), integers", "Logic('or'), integers", "Logic('xor'), integers", "Logic('not') of integers"),
    20: tuple(str(case) for case in CASES if str(case).startswith("GridSample") and str(case).endswith("3 axes")),
}
"""Rows that need this opset: bits, and grids for volumes."""


def export(network: Network, folder: Path, *inputs: Tensor, opset: int = 18, **more: Any) -> ModelProto:
    """The model that is written, checked by onnx."""
    path = folder / "net.onnx"
    to_onnx(
        network, path, opset, **({"shape": dict(zip(network.inputs, inputs, strict=True))} if inputs else {}), **more
    )
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path)


def run(model: ModelProto | Path, *inputs: Tensor) -> list[Tensor]:
    """The outputs that onnxruntime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    given = model.SerializeToString() if isinstance(model, ModelProto) else str(model)
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return [
        torch.from_numpy(np.array(y))
        for y in session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    ]


def compare(network: Network, found: Sequence[Tensor], *inputs: Tensor, tolerance: float = CLOSE) -> None:
    """The same values, shapes and types of number as the network gives."""
    expected = network(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        finite = [x.double()[x.isfinite()].abs().max().item() for x in (*inputs, theirs) if x.isfinite().any()]
        scale = tolerance * max(finite, default=1.0)
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=scale, equal_nan=True)


def same(network: Network, folder: Path, *inputs: Tensor, opset: int = 18, tolerance: float = CLOSE) -> ModelProto:
    """Export with these inputs as examples, run, compare; the model."""
    model = export(network, folder, *inputs, opset=opset)
    compare(network, run(model, *inputs), *inputs, tolerance=tolerance)
    return model


def with_statistics(network: Network, seed: int = 0) -> Network:
    """The network with nothing left at its start, so that exchanged weights would be seen."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state.values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator).to(tensor.dtype))
    return network


def names_of_axes(value: Any) -> list[Any]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def refused(case: Case, opset: int) -> bool:
    if type(case.make()) not in HANDLERS:
        return True
    return str(case) in REFUSED or any(opset < first and str(case) in rows for first, rows in REFUSED_BEFORE.items())


def network_of(case: Case) -> tuple[Network, tuple[Tensor, ...]]:
    """The row's block alone, with the batch free if it has one."""
    block, inputs = made(case, torch.float32), case.tensors(torch.float32)
    names = [f"in{i}" for i in range(len(inputs))]
    free = {name: [case.batch] for name in names} if case.batch is not None else {}
    return Network([Node("node", block, names)], names, meta={"free": free}), inputs
