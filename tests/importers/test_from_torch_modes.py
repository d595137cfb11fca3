"""Modules in training and in evaluation mode, in low precision; weights that are frozen, tied or computed."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import blocks
from blockprop.errors import SettingError, UnsupportedError
from blockprop.importers import from_torch
from tests.architectures import ARCHITECTURES
from tests.importers.against_torch import (
    assert_gradients_equal,
    assert_outputs_equal,
    distance,
    inputs_of,
)
from tests.importers.small_modules import X, small


class Modes(nn.Module):
    """Batch norm, dropout, and a branch for training only."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.conv(x)))
        return 2 * x if self.training else x


def test_a_module_in_training_mode_must_be_told_what_is_meant() -> None:
    with pytest.raises(SettingError, match=r"training mode \(Modes, norm, drop\): call its eval\(\)"):
        from_torch(Modes(), X)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.0)).train()
    assert len(from_torch(module, X).nodes) == 3  # nothing in it that training changes


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_acts_in_training_as_torchs(training: bool) -> None:
    module = Modes(p=0.0).double().train()
    network = from_torch(module, X.double(), training=training)
    scale = 1 if training else 2
    theirs = module(X.double())
    trace = network.forward(X.double(), training=True)
    assert distance(trace[network.outputs[0]] * scale, theirs.detach()) < 1e-12
    norm = network.blocks["norm"]
    norm.remember(trace.saved["norm"])
    assert torch.allclose(norm.buffers["running_mean"], module.norm.running_mean)
    assert torch.allclose(norm.buffers["running_variance"], module.norm.running_var)
    expected = 2 * module.norm.eval()(module.conv(X.double())) if training else module.eval()(X.double())
    assert distance(network(X.double()), expected.detach()) < 1e-12


@pytest.mark.parametrize("training", [None, False, True])
def test_dropout_drops_in_training_alone(training: bool | None) -> None:
    module = Modes().train(training is not None)
    network = from_torch(module, X, training=training)
    plain, dropped = network(X), network.forward(X, training=True)["drop"]
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert (plain == 0).float().mean() < 0.01


class NeverDropping(Modes):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.5, training=False)


def test_dropout_that_is_switched_off_by_hand_never_drops() -> None:
    module = NeverDropping(p=0.0).train()
    network = from_torch(module, X, training=True)
    assert sum(isinstance(block, blocks.Dropout) for block in network.blocks.values()) == 1
    assert distance(network.forward(X, training=True)[network.outputs[0]], module(X).detach()) < 1e-5


def test_a_batch_norm_that_stays_in_evaluation_mode_stays_so() -> None:
    module = Modes(p=0.0).double().train()
    module.norm.running_mean += 0.5
    module.norm.eval()
    network = from_torch(module, X.double(), training=True)
    assert distance(network.forward(X.double(), training=True)[network.outputs[0]], module(X.double()).detach()) < 1e-12
    assert_gradients_equal(network, module, (X.double(),), 1e-9)


def test_googlenet_has_its_auxiliary_outputs_in_training_alone() -> None:
    module, inputs = ARCHITECTURES["googlenet"].make().train(), inputs_of("googlenet", torch.float32)
    assert len(from_torch(module, inputs, training=False, free=False).outputs) == 1
    network = from_torch(module, inputs, training=True, free=False)
    assert len(network.outputs) == 3
    assert any(name.startswith("aux1") for name in network.blocks)


def test_attention_drops_in_training() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.4, batch_first=True).train()
    network = from_torch(layer, torch.randn(2, 5, 8), training=True)
    assert sum(isinstance(block, blocks.Dropout) for block in network.blocks.values()) == 4
    x = torch.randn(3, 7, 8)
    assert distance(network(x), layer.eval()(x).detach()) < 1e-5


class HalfWithoutGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = torch.tanh(self.a(x))
        return self.b(x) * y + y.detach()


def test_no_gradient_passes_what_the_module_computes_under_no_grad() -> None:
    module, x = HalfWithoutGradient().double().eval(), torch.randn(3, 4, dtype=torch.float64)
    network = from_torch(module, x)
    assert_outputs_equal(network, module, (x,), 1e-12)
    assert_gradients_equal(network, module, (x,), 1e-12)


def test_frozen_weights_are_named() -> None:
    module = small(nn.BatchNorm2d(4))
    module[0].weight.requires_grad_(False)
    module[1].requires_grad_(False)
    network = from_torch(module, X)
    assert network.meta["frozen"] == ["0.weight", "1.bias", "1.weight"]
    assert "frozen" not in from_torch(small(), X).meta


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-2), (torch.bfloat16, 1e-1)])
def test_half_precision(dtype: torch.dtype, tolerance: float) -> None:
    module = small(nn.BatchNorm2d(4), nn.ReLU()).to(dtype)
    network = from_torch(module, X.to(dtype))
    assert {tensor.dtype for tensor in network.parameters.values()} == {dtype}
    assert_outputs_equal(network, module, (X.to(dtype),), tolerance)
    assert_gradients_equal(network, module, (X.to(dtype),), tolerance)


def test_the_derivative_of_a_row_for_padding_is_0() -> None:
    module = nn.Sequential(nn.Embedding(6, 3, padding_idx=-2), nn.Linear(3, 2)).double().eval()
    with torch.no_grad():
        module[0].weight[4] = 1.0
    words = torch.tensor([[0, 4, 5], [4, 4, 1]])
    network = from_torch(module, words)
    assert_gradients_equal(network, module, (words,), 1e-12)


def test_a_layer_norm_without_a_bias_gets_none() -> None:
    module = nn.LayerNorm(5, bias=False).double().eval()
    network = from_torch(module, torch.randn(2, 5, dtype=torch.float64))
    assert len(network.parameters) == 1
    assert_gradients_equal(network, module, (torch.randn(2, 5, dtype=torch.float64),), 1e-9)


class TiedConvolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(torch.tanh(self.conv(x)), self.conv.weight)


def test_a_weight_that_became_two_is_named() -> None:
    module = TiedConvolutions().double().eval()
    network = from_torch(module, X.double())
    assert network.meta["untied"] == ["conv.weight"]
    assert_gradients_equal(network, module, (X.double(),), 1e-9)


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm", "prune"])
@pytest.mark.filterwarnings("ignore:.*the iteration of its spectral norm stands still")
def test_weights_that_hooks_compute_are_worked_out(kind: str) -> None:
    conv = nn.Conv2d(3, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "prune":
            from torch.nn.utils import prune

            prune.random_unstructured(conv, "weight", 0.5)
        else:
            conv = getattr(nn.utils, kind)(conv)
    module = nn.Sequential(conv, nn.ReLU()).eval()
    network = from_torch(module, X)
    assert_outputs_equal(network, module, (X,), 1e-5)
    assert network.meta["computed"] == ["0.weight"]


def test_a_recurrent_cell_in_a_loop() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.other = nn.LSTMCell(3, 4), nn.GRUCell(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = c = g = x.new_zeros(x.shape[0], 4)
            for i in range(x.shape[1]):
                h, c = self.cell(x[:, i], (h, c))
                g = self.other(h, g)
            return g

    module, x = Loop().double().eval(), torch.randn(2, 3, 3, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"axis 1 of 'x' is fixed at 3: other operators run"):
        network = from_torch(module, x)
    assert network.meta["free"]["x"] == [0]
    assert_gradients_equal(network, module, (x,), 1e-9)
    assert "untied" not in network.meta


@pytest.mark.parametrize("training", [None, True])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_dropout_of_channels_drops_whole_ones(axes: int, training: bool | None) -> None:
    conv, drop = getattr(nn, f"Conv{axes}d"), getattr(nn, f"Dropout{axes}d")
    x = torch.randn(8, 6, *(3,) * axes)
    network = from_torch(
        nn.Sequential(conv(6, 6, 1), drop(0.3)).train(bool(training)), x, training=training, free=False
    )
    first, second = (network.forward(x, training=True)[network.outputs[0]].flatten(2) for _ in range(2))
    assert not torch.equal(first, second)
    dropped = (first == 0).float().mean(2)
    assert set(dropped.unique().tolist()) == {0.0, 1.0}


def test_randomness_without_a_block_is_refused_in_training_rather_than_frozen() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AlphaDropout(0.3)).train()
    with pytest.raises(UnsupportedError, match="this kind of dropout in training mode has no block"):
        from_torch(module, X, training=True, free=False)


def test_randomness_that_evaluation_hides_is_said() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AlphaDropout(0.3)).eval()
    with pytest.warns(UserWarning, match=r"'1' \(AlphaDropout\) drops nothing when the network is trained"):
        network = from_torch(module, X)
    assert "AlphaDropout" in network.meta["notes"][0]


def test_derivatives_scaled_by_frequency_are_refused() -> None:
    module = nn.Sequential(nn.Embedding(6, 3, scale_grad_by_freq=True), nn.Linear(3, 2)).eval()
    with pytest.raises(UnsupportedError, match="divided by how often a row was looked up"):
        from_torch(module, torch.tensor([[0, 1, 1]]), free=False)
