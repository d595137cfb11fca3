"""A job's network: the same gradients within a budget, by all saliency methods; and plain looks count, too."""

from collections.abc import Callable

import pytest
import torch

from blockprop.blocks import ReLU
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.errors import SettingError, ShapeError
from blockprop.networks.architectures import squeezenet1_1
from blockprop.preparing.budget import kernels_weights
from blockprop.preparing.job import Job
from blockprop.preparing.resident import Expected
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.saliency import saliency
from tests.preparing.extra_memory import smooth
from tests.tensor_peak import tensor_peak

X = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_to_a_budget_or_refuses_it(method: str) -> None:
    torch.manual_seed(0)
    network, told = squeezenet1_1(), list[Expected]()
    passes = {METHODS[method].passes: 2} if METHODS[method].passes else {}
    whole = saliency(network, X, 5, method, **passes)
    kept = saliency(network, X, 5, method, memory="1 GB", expecting=told.append, **passes)
    torch.testing.assert_close(kept.attribution, whole.attribution)
    assert told
    least = max(expected.bytes for expected in told)
    saliency(network, X, 5, method, memory=least, **passes)
    with pytest.raises(SettingError, match=r"of memory are too little for 1 x 3 x 96 x 96: .* takes? at least"):
        saliency(network, X, 5, method, memory="300 kB", **passes)


def test_a_plain_look_counts() -> None:
    network, x = squeezenet1_1(), torch.rand(1, 3, 96, 96)
    layer = 4 * 64 * 47 * 47
    with pytest.raises(SettingError, match="finding out where the network's places are takes at least"):
        Job(network, 2 * layer).require_plain(x, network.outputs)
    Job(network, 3 * layer).require_plain(x, network.outputs)
    Job(network).require_plain(x, network.outputs)


def test_without_a_memory_nothing_is_expected() -> None:
    network = squeezenet1_1()
    assert Job(network).expected(X, network.outputs) is None
    expected = Job(network, "1 GB").expected(X, network.outputs)
    assert expected is not None
    assert 10**7 < expected < 2 * 10**7


def test_what_does_not_fit_is_said_of_the_networks_own_node() -> None:
    network = squeezenet1_1()
    with pytest.raises(ShapeError, match=r"node 'conv1': .*expected"):
        Job(network, "1 GB").forward(torch.rand(1, 4, 96, 96), network.outputs)


@pytest.mark.parametrize("make", [squeezenet1_1, smooth])
def test_what_is_expected_is_what_tensors_take(make: Callable[[], Network]) -> None:
    network = make()
    job = Job(network, "1 GB", copies=0)
    keep = (*network.outputs, network.nodes[1].name)

    def gradient() -> torch.Tensor:
        lean, trace = job.forward(X, keep)
        seeds = {name: torch.ones_like(trace[name]) for name in keep}
        return lean.backward(trace, seeds, wrt="inputs")[network.inputs[0]]

    gradient()
    expected = job.expected(X, keep) or 0
    assert kernels_weights(job.forward(X, keep)[0]) == 0
    assert tensor_peak(gradient) == pytest.approx(expected, rel=0.05)


def test_rules_that_need_numbers_are_refused_a_budget() -> None:
    def own(block: Block, saved: object, d_y: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return block.propagate(saved, d_y) if bool(d_y.any()) else (d_y,)

    network = squeezenet1_1()
    saliency(network, X, 5, rules={ReLU: own})
    with pytest.raises(SettingError, match="what both passes take cannot be known beforehand: node 'relu_conv10'"):
        saliency(network, X, 5, rules={ReLU: own}, memory="1 GB")


def test_without_a_memory_nothing_is_prepared_for_a_look() -> None:
    job = Job(squeezenet1_1())
    assert job.expected(X, job.network.outputs) is None
    assert not job.network.prepared
