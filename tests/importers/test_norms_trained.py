"""Every normalization, setting and mode: trained for five steps in torch and after its import, then evaluated."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import blocks, fit, mean_squared_error
from blockprop.errors import BlockpropWarning
from blockprop.exporters import to_onnx
from blockprop.importers import from_onnx, from_torch
from blockprop.saving.storage import load, save

PLACES = {1: (5,), 2: (3, 4), 3: (2, 3, 2)}


class Called(nn.Module):
    """function(module, x), with weights and buffers by name."""

    def __init__(self, function: Callable[..., Tensor], trained: str = "", fixed: str = "") -> None:
        super().__init__()
        self.function = function
        for name in trained.split():
            self.register_parameter(name, nn.Parameter(torch.ones(3)))
        for name in fixed.split():
            self.register_buffer(name, torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Held(nn.BatchNorm2d):
    """A batch norm that never leaves evaluation, as in fine-tuning."""

    def train(self, mode: bool = True) -> "Held":
        return super().train(False)


class ByAnother(nn.Module):
    """A batch norm's statistics and weights, in a call that is not its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def modules() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    """make() and the shape of an example, by title."""
    table: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {}
    for kind in ("BatchNorm", "InstanceNorm"):
        for axes, momentum, affine, running in (
            *((2, m, a, True) for m in (None, 0.0, 0.1, 1.0) for a in (True, False)),
            *((n, 0.1, a, r) for n, a in ((1, True), (2, False), (3, True)) for r in (True, False)),
        ):
            settings = {"momentum": momentum, "affine": affine, "track_running_stats": running}
            title = f"{kind}{axes}d, {', '.join(f'{k} {v}' for k, v in settings.items())}"
            made = getattr(nn, f"{kind}{axes}d")
            table[title] = (lambda made=made, settings=settings: made(3, **settings)), (3, *PLACES[axes])
    for affine in (True, False):
        table[f"GroupNorm, affine {affine}"] = (lambda affine=affine: nn.GroupNorm(2, 4, affine=affine)), (4, 3, 2)
        table[f"LayerNorm, affine {affine}"] = (lambda a=affine: nn.LayerNorm((3, 2), elementwise_affine=a)), (4, 3, 2)
        table[f"RMSNorm, affine {affine}"] = (lambda a=affine: nn.RMSNorm((3, 2), elementwise_affine=a)), (4, 3, 2)
    table["LayerNorm without a bias"] = (lambda: nn.LayerNorm(2, bias=False)), (4, 3, 2)
    table["LocalResponseNorm"] = (lambda: nn.LocalResponseNorm(3, 0.5)), (4, 3, 2)
    table["BatchNorm2d, held in evaluation"] = (lambda: Held(3)), (3, 2, 2)
    table["BatchNorm2d, called by another module"] = ByAnother, (3, 2, 2)
    table["SyncBatchNorm"] = (lambda: nn.SyncBatchNorm(3)), (3, 2, 2)
    for title, function, trained, fixed in (
        ("batch_norm by its mode", by_batch(lambda m: m.training), "w b", "mean variance"),
        ("batch_norm by the batch alone", by_batch(lambda _: True), "w b", "mean variance"),
        ("batch_norm that is fixed", by_batch(lambda _: False), "w b", "mean variance"),
        ("batch_norm that is fixed, of fixed weights", by_batch(lambda _: False), "", "mean variance w b"),
        ("batch_norm of fixed weights", by_batch(lambda m: m.training), "", "mean variance w b"),
        ("batch_norm with a weight alone", by_batch(lambda m: m.training), "w", "mean variance"),
        ("batch_norm with a bias alone", by_batch(lambda m: m.training), "b", "mean variance"),
        ("batch_norm without statistics", lambda m, x: F.batch_norm(x, None, None, m.w, m.b, True), "w b", ""),
        ("instance_norm", lambda m, x: F.instance_norm(x, weight=m.w, bias=m.b), "w b", ""),
        ("instance_norm with a weight alone", lambda m, x: F.instance_norm(x, weight=m.w), "w", ""),
        ("instance_norm by its mode", by_example(lambda m: m.training), "w b", "mean variance"),
        ("instance_norm by the input alone", by_example(lambda _: True), "w b", "mean variance"),
        ("instance_norm that is fixed", by_example(lambda _: False), "w b", "mean variance"),
        ("group_norm with a weight alone", lambda m, x: F.group_norm(x, 1, weight=m.w), "w", ""),
        ("layer_norm with a bias alone", lambda m, x: F.layer_norm(x, (3,), bias=m.b).mT, "b", ""),
        ("rms_norm of a fixed weight", lambda m, x: F.rms_norm(x, (3,), m.w), "", "w"),
    ):
        table[title] = (lambda f=function, t=trained, b=fixed: Called(f, t, b)), (3, 3)
    return table


def by_batch(training: Callable[[Any], bool]) -> Callable[..., Tensor]:
    return lambda m, x: F.batch_norm(
        x, m.mean, m.variance, getattr(m, "w", None), getattr(m, "b", None), training(m), 0.3
    )


def by_example(training: Callable[[Any], bool]) -> Callable[..., Tensor]:
    return lambda m, x: F.instance_norm(x, m.mean, m.variance, m.w, m.b, training(m), 0.3)


MODULES = modules()


def made(title: str) -> tuple[nn.Module, Tensor]:
    """The module with a layer before it, all away from its start; and an example."""
    make, shape = MODULES[title]
    torch.manual_seed(0)
    before = getattr(nn, f"Conv{len(shape) - 1}d")(shape[0], shape[0], 1)
    module = nn.Sequential(before, make()).double()
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor += 0.2 * torch.rand_like(tensor)
    return module, torch.randn(4, *shape, dtype=torch.float64)


def trained_by_torch(module: nn.Module, x: Tensor, target: Tensor) -> nn.Module:
    module = copy.deepcopy(module).train()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for batch, wanted in zip(x.split(4), target.split(4), strict=True):
        optimizer.zero_grad()
        F.mse_loss(module(batch), wanted).backward()
        optimizer.step()
    return module.eval()


@pytest.mark.parametrize("training", [None, True], ids=["imported in evaluation", "imported in training"])
@pytest.mark.parametrize("title", MODULES)
def test_five_steps_of_training_are_torchs(title: str, training: bool | None) -> None:
    module, example = made(title)
    x = torch.cat([1 + i / 3 + (1 + i) * torch.randn_like(example) for i in range(5)])
    network = from_torch(module.train(bool(training)), example, training=training, free=False)
    target = torch.randn(len(x), *network(example).shape[1:], dtype=torch.float64)
    theirs = trained_by_torch(module, x, target)
    for batch in zip(x.split(4), target.split(4), strict=True):  # whose order fit would choose by itself
        fit(network, batch, mean_squared_error(), epochs=1, batch_size=4, rate=0.1).finish()
    for batch in (example, x[:4]):
        torch.testing.assert_close(network(batch), theirs(batch).detach(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("momentum", [None, 0.0, 0.3, 1.0])
def test_settings_of_running_statistics_survive_files(momentum: float | None, tmp_path: Any) -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, momentum=momentum), nn.ReLU())
    module(torch.randn(4, 3, 5, 5))
    network = from_torch(module.eval(), torch.randn(2, 3, 5, 5))
    (norm,) = [block for block in network.blocks.values() if isinstance(block, blocks.BatchNorm2d)]
    assert norm.momentum == momentum
    assert momentum is not None or norm.batches.item() == 1
    save(network, tmp_path / "network.safetensors")
    (again,) = [b for b in load(tmp_path / "network.safetensors").blocks.values() if isinstance(b, blocks.BatchNorm2d)]
    assert again.settings == norm.settings
    assert {name: tensor.tolist() for name, tensor in again.buffers.items()} == {
        name: tensor.tolist() for name, tensor in norm.buffers.items()
    }
    if momentum is not None:  # ONNX has no mean over all batches
        to_onnx(network, tmp_path / "network.onnx")
        (again,) = [
            b for b in from_onnx(tmp_path / "network.onnx").blocks.values() if isinstance(b, blocks.BatchNorm2d)
        ]
        assert again.momentum == pytest.approx(momentum)


def test_training_weights_that_the_module_computes_is_said() -> None:
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))).eval()
    network = from_torch(module, torch.randn(2, 4))
    with pytest.warns(BlockpropWarning, match="0.weight: computed from other weights by the module"):
        fit(network, (torch.randn(4, 4), torch.randn(4, 3)), mean_squared_error(), epochs=1).finish()
