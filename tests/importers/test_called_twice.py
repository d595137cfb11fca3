"""One module at several places of a forward: weights and running statistics are one, and are trained as torch does."""

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blockprop import fit, mean_squared_error
from blockprop.errors import BlockpropWarning, UnsupportedError
from blockprop.importers import from_torch


class Twice(nn.Module):
    """module(layer(relu(module(x)))); of outputs in a tuple the first."""

    def __init__(self, module: nn.Module, axes: int) -> None:
        super().__init__()
        self.module = module
        self.layer = nn.Conv2d(4, 4, 1) if axes == 4 else nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.once(self.layer(torch.relu(self.once(x))))

    def once(self, x: Tensor) -> Tensor:
        y = self.module(x)
        return y[0] if isinstance(y, tuple) else y


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), (6, 4, 3, 2)),
    "BatchNorm2d, mean of all": (lambda: nn.BatchNorm2d(4, momentum=None), (6, 4, 3, 2)),
    "BatchNorm2d without weights": (lambda: nn.BatchNorm2d(4, affine=False), (6, 4, 3, 2)),
    "BatchNorm2d without statistics": (lambda: nn.BatchNorm2d(4, track_running_stats=False), (6, 4, 3, 2)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), (5, 4)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), (6, 4, 3, 2)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (3, 4, 3, 2)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (5, 4)),
    "PReLU": (nn.PReLU, (5, 4)),
    "Linear": (lambda: nn.Linear(4, 4), (5, 4)),
    "Conv2d": (lambda: nn.Conv2d(4, 4, 3, padding=1), (3, 4, 5, 4)),
    "GRU": (lambda: nn.GRU(4, 4, batch_first=True), (3, 5, 4)),
    "LSTM": (lambda: nn.LSTM(4, 4, batch_first=True), (3, 5, 4)),
    "RNN": (lambda: nn.RNN(4, 4, batch_first=True), (3, 5, 4)),
}


@pytest.mark.parametrize("training", [None, True], ids=["imported in evaluation", "imported in training"])
@pytest.mark.parametrize("title", MODULES)
def test_a_module_that_is_called_twice_is_one_block_and_trains_as_in_torch(title: str, training: bool | None) -> None:
    make, shape = MODULES[title]
    torch.manual_seed(0)
    module = Twice(make(), len(shape)).double()
    module.train()(torch.randn(*shape).double())  # running statistics that have begun
    x, target = torch.randn(5, *shape).double(), torch.randn(5, *shape).double()
    network = from_torch(module.train(bool(training)), x[0], training=training)
    assert "untied" not in network.meta
    optimizer = torch.optim.SGD(module.train().parameters(), 0.1)
    for batch, wanted in zip(x, target, strict=True):
        optimizer.zero_grad()
        F.mse_loss(module(batch), wanted).backward()
        optimizer.step()
        fit(network, (batch, wanted), mean_squared_error(), epochs=1, batch_size=9, rate=0.1).finish()
    torch.testing.assert_close(network(x[1]), module.eval()(x[1]).detach(), rtol=1e-8, atol=1e-8)


def test_one_weight_in_blocks_of_two_kinds_is_said_when_it_is_trained() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))
    module[1].weight = module[0].weight
    network = from_torch(module, torch.randn(2, 4, 3, 3))
    assert network.meta["untied"] == ["0.weight"]
    with pytest.warns(
        BlockpropWarning, match="one weight, 0.weight, in the model that was imported; here trained apart"
    ):
        fit(network, (torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)), mean_squared_error(), epochs=1).finish()


@pytest.mark.parametrize("kind", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_iteration_that_is_not_followed_in_training_is_said(kind: Callable[..., nn.Module]) -> None:
    with pytest.warns(UserWarning, match="the iteration of its spectral norm stands still when the network is trained"):
        from_torch(nn.Sequential(kind(nn.Linear(4, 4))).eval(), torch.randn(2, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_torch(nn.Sequential(nn.Linear(4, 4)).eval(), torch.randn(2, 4))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_cross_map_lrn_is_refused_since_torch_has_other_numbers_than_the_formula(size: int) -> None:
    x = torch.randn(2, 8, 3, 3)
    same = torch.allclose(nn.CrossMapLRN2d(size, 0.5)(x), nn.LocalResponseNorm(size, 0.5)(x))
    assert not same, "torch has mended it: import it as LocalResponseNorm"
    with pytest.raises(UnsupportedError, match=r"'0' \(CrossMapLRN2d\): in torch's own.* nn.LocalResponseNorm"):
        from_torch(nn.Sequential(nn.CrossMapLRN2d(size)), x)
