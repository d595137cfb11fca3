"""Every block as ONNX operators: what onnxruntime computes is what the block does."""

from pathlib import Path

import pytest
import torch

from blockprop import blocks
from blockprop.blocks import BLOCKS
from blockprop.engine.sequential import Sequential
from blockprop.errors import UnsupportedError
from blockprop.exporters.onnx_operators.table import HANDLERS, REASONS
from tests.cases import CASES, Case
from tests.exporters.exporting import REFUSED, REFUSED_BEFORE, compare, export, network_of, refused, run, same

WRITTEN = """
Abs AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Add
Affine AffineGrid ArgMax ArgMin Attention AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d Blur
CELU Cast ChannelOrder Clamp ColorMix Compare Concat Constant Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d
ConvTranspose3d CumSum Detach Diagonal Div Dropout ELU Einsum Embedding Exp Expand Filled Flatten Flip Fold Function
GELU GRU Gather GatherElements GatherND GlobalAvgPool GlobalMaxPool GridSample GroupNorm HardSigmoid HardSwish
InstanceNorm LSTM LayerNorm LeakyReLU Linear LocalResponseNorm Log LogSoftmax LogSumExp Logic LpNorm LpPool1d
LpPool2d LpPool3d MatMul Max MaxOver MaxPool1d MaxPool2d MaxPool3d Mean MeanVarianceNorm Min MinOver Mul Norm OneHot
PReLU Pad Parameter PixelShuffle PixelUnshuffle Pow Power Product RMSNorm RNN Range ReLU Remainder Repeat
RepeatInterleave Resample Reshape Resize RoiAlign Roll RunningInstanceNorm SELU ScatterElements ScatterND Select Shrink
SiLU Sigmoid Slice Softmax Softplus Sort Spectrum Split Sqrt Squeeze StandardDeviation Sub Sum Tanh
ThresholdedReLU TopK Transpose Triangle Unfold
Unsqueeze Variance Where
"""
"""Blocks that have a handler, for good. A new block needs none."""


def test_what_could_be_written_can_still_be_written() -> None:
    assert set(WRITTEN.split()) <= {kind.__name__ for kind in HANDLERS}
    assert set(BLOCKS.values()).issuperset({*HANDLERS, *REASONS})
    assert not set(HANDLERS) & set(REASONS)
    assert {kind.__name__ for kind in REASONS} >= {"Jitter", "Noise", "RandomAffine", "RandomCrop"}


def test_a_shipped_block_may_have_no_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(HANDLERS, blocks.Tanh)
    with pytest.raises(
        UnsupportedError, match=r"1 node cannot be written as ONNX \(Tanh\):\n  tanh1: Tanh\(\): no ONNX form"
    ):
        export(Sequential(blocks.ReLU(), blocks.Tanh()), tmp_path, torch.randn(2, 3))
    with pytest.raises(UnsupportedError, match=r"noise1: Noise.*: it draws at random each time"):
        export(Sequential(blocks.Noise(0.1)), tmp_path, torch.randn(2, 3))


def test_the_refused_rows_exist() -> None:
    titles = {str(case) for case in CASES}
    assert titles.issuperset([*REFUSED, *(row for rows in REFUSED_BEFORE.values() for row in rows)])


@pytest.mark.parametrize(
    "opset", [pytest.param(17, marks=pytest.mark.slow), 18, pytest.param(21, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnxruntime_computes_what_the_block_does(case: Case, opset: int, tmp_path: Path) -> None:
    network, inputs = network_of(case)
    if refused(case, opset):
        with pytest.raises(UnsupportedError):
            export(network, tmp_path, *inputs, opset=opset)
        return
    model = same(network, tmp_path, *inputs, opset=opset)
    if case.batch is not None:  # a batch of another size
        fewer = tuple(x.narrow(case.batch, 0, 1) for x in inputs)
        compare(network, run(model, *fewer), *fewer)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [19, 20])
def test_the_opsets_between_write_the_same(opset: int, tmp_path: Path) -> None:
    for case in CASES[::7]:
        if not refused(case, opset):
            network, inputs = network_of(case)
            same(network, tmp_path, *inputs, opset=opset)
