"""Regions beyond the common checks: numbers by hand, ONNX's and autograd's numbers, regions of nothing."""

import random

import pytest
import torch
from torch import Tensor

from blockprop.blocks import RoiAlign
from tests.cases.regions import roi_align


def test_a_region_by_hand() -> None:
    """The whole of a 2 × 4 picture in two bins, of 2 × 2 elements each."""
    x = torch.arange(8.0).view(1, 1, 2, 4)
    block = RoiAlign((1, 2))
    y, saved = block.forward(x, torch.tensor([[0.0, 0.0, 4.0, 2.0]]), torch.tensor([0]))
    assert y.tolist() == [[[[2.5, 4.5]]]]
    d_x, *rest = block.propagate(saved, torch.tensor([[[[4.0, 8.0]]]]))
    assert d_x.tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]
    assert rest == [None, None]


@pytest.mark.parametrize("seed", range(40))
def test_onnxruntime_aligns_the_same(seed: int) -> None:
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession, SessionOptions

    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    block = _drawn(draw)
    x, rois, batch_index = _regions(draw, generator)
    node = helper.make_node(
        "RoiAlign",
        ["x", "rois", "batch_index"],
        ["y"],
        output_height=block.output_size[0],
        output_width=block.output_size[1],
        spatial_scale=block.scale,
        sampling_ratio=block.sampling_ratio,
        mode=block.mode,
        coordinate_transformation_mode=block.coordinates,
    )
    kinds = (("x", TensorProto.FLOAT, 4), ("rois", TensorProto.FLOAT, 2), ("batch_index", TensorProto.INT64, 1))
    inputs = [helper.make_tensor_value_info(name, kind, [None] * axes) for name, kind, axes in kinds]
    graph = helper.make_graph([node], "", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=9)
    quiet = SessionOptions()
    quiet.log_severity_level = 4  # it warns of what ONNX means by "max"
    session = InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    given = {"x": x.float().numpy(), "rois": rois.float().numpy(), "batch_index": batch_index.numpy()}
    theirs = torch.from_numpy(session.run(None, given)[0])
    torch.testing.assert_close(block(x.float(), rois.float(), batch_index), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_regions_go_back_as_by_autograd(seed: int) -> None:
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    block = _drawn(draw)
    x, rois, batch_index = _regions(draw, generator)
    x.requires_grad_()
    theirs = roi_align(block, x, rois, batch_index)
    d_y = torch.randn(theirs.shape, dtype=torch.float64, generator=generator)
    theirs.backward(d_y)
    y, saved = block.forward(x.detach(), rois, batch_index)
    torch.testing.assert_close(y, theirs.detach(), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(block.propagate(saved, d_y)[0], x.grad, rtol=1e-11, atol=1e-11)


def _drawn(draw: random.Random) -> RoiAlign:
    return RoiAlign(
        (draw.randint(1, 4), draw.randint(1, 4)),
        draw.choice([1.0, 0.5, 0.3]),
        draw.randint(0, 3),
        draw.choice(["avg", "max"]),
        draw.choice(["half_pixel", "output_half_pixel"]),
    )


def _regions(draw: random.Random, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Some of them reach out of the picture on any side."""
    count = draw.randint(1, 4)
    x = torch.randn(2, 3, draw.randint(1, 9), draw.randint(1, 9), dtype=torch.float64, generator=generator)
    starts = 17 * torch.rand(count, 2, dtype=torch.float64, generator=generator) - 3
    extents = 0.2 + 12 * torch.rand(count, 2, dtype=torch.float64, generator=generator)
    return x, torch.cat([starts, starts + extents], 1), torch.randint(0, 2, (count,), generator=generator)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_regions_of_nothing(mode: str) -> None:
    """No regions, and regions turned inside out, which read nothing and give 0."""
    block, x = RoiAlign(2, mode=mode), torch.randn(1, 3, 4, 5)
    for count in (0, 2):
        rois = torch.tensor([3.0, 3.0, 1.0, 1.0]).expand(count, 4)
        y, saved = block.forward(x, rois, torch.zeros(count, dtype=torch.long))
        assert torch.equal(y, torch.zeros(count, 3, 2, 2))
        assert torch.equal(block.propagate(saved, torch.ones_like(y))[0], torch.zeros_like(x))
