"""A budget of memory is kept by computing again; the numbers stay the same; what a run takes is known before."""

import json
import sys

import pytest
import torch

from blockprop.engine.network import Network
from blockprop.errors import GraphError, SettingError, ShapeError
from blockprop.networks.architectures import squeezenet1_1
from blockprop.preparing.budget import Choice, bytes_named
from blockprop.preparing.prepare import Prepared
from blockprop.visualize import pipeline
from tests.preparing.extra_memory import smooth
from tests.preparing.graphs import fork, residual, same
from tests.processes import started


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500 MB", 5 * 10**8),
        ("2GB", 2 * 10**9),
        ("1.5 gib", 3 * 2**29),
        (" 500 MB ", 5 * 10**8),
        ("64 kB", 64_000),
        (12345, 12345),
        ("7", 7),
    ],
)
def test_sizes_in_words(text: int | str, count: int) -> None:
    assert bytes_named(text) == count


@pytest.mark.parametrize("text", ["", "MB", "-1 MB", "0", 0, "5 apples", "inf GB", "nan", True, "1e400 GB", None])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(SettingError, match="expected memory as '500 MB' or '2 GB'"):
        bytes_named(text)  # type: ignore[arg-type]


def expected(lean: Network, x: torch.Tensor) -> int:
    assert isinstance(lean, Prepared)
    assert lean.budget is not None
    return lean.budget.chosen((x,), (*lean.inputs, *lean.outputs))[2]


def test_less_memory_gives_the_same_numbers_by_computing_again() -> None:
    network = smooth().to(dtype=torch.float64)
    x = torch.randn(2, 3, 40, 36, dtype=torch.float64)
    whole = expected(network.prepare(memory="1 GB"), x)
    repeated = set()
    for share in (1.0, 0.9, 0.8):
        lean = network.prepare(memory=int(share * whole))
        same(network, network.outputs, x, lean=lean)
        assert expected(lean, x) <= share * whole
        repeated.add(lean.report().splitlines()[-1].split(", ")[-1].split(" computed")[0])
    assert "nothing is" in repeated
    assert len(repeated) > 1  # how many follow from measured times


@pytest.mark.parametrize("make", [residual, fork])
def test_branches_are_computed_again(make: object) -> None:
    network = make()  # type: ignore[operator]
    x = torch.randn(1, 3, 33, 30, dtype=torch.float64)
    lean = network.prepare(memory="1 GB")
    parts, _, peak = lean.budget.chosen((x,), (*lean.inputs, *lean.outputs))
    everything = Choice(parts, tuple(range(len(parts))), peak)
    lean.budget._chosen = dict.fromkeys(lean.budget._chosen, everything)
    same(network, network.outputs, x, lean=lean)
    trace, seeds = lean.forward(x), {key: torch.ones_like(lean.forward(x)[key]) for key in lean.outputs}
    first = lean.backward(trace, seeds, "inputs", keep_trace=True)["x"]
    assert torch.equal(lean.backward(trace, seeds, "inputs")["x"], first)
    with pytest.raises(GraphError, match="has nothing saved"):
        lean.backward(trace, seeds, "inputs")


def test_too_little_is_refused_with_the_least() -> None:
    network, x = smooth(), torch.rand(1, 3, 128, 128)
    lean = network.prepare(memory="1 MB")
    with pytest.raises(SettingError, match=r"1\.0 MB of memory are too little for 1 x 3 x 128 x 128: both passes take"):
        lean.forward(x)
    with pytest.raises(SettingError) as refused:
        lean.forward(x)
    least = str(refused.value).split("at least ")[1].split(" beside")[0]
    network.prepare(memory=least).forward(x)
    with pytest.raises(ShapeError, match="node 'conv2d1': expected"):
        lean.forward(torch.rand(1, 4, 16, 16))
    with pytest.raises(ShapeError, match="the network takes 1 inputs"):
        lean.forward(x, x)


def test_what_is_expected_grows_with_the_pixels() -> None:
    lean = squeezenet1_1().prepare(memory="4 GB")
    peaks = [expected(lean, torch.empty(1, 3, side, side)) for side in (512, 1024, 2048)]
    assert peaks[1] / peaks[0] == pytest.approx(4, rel=0.02)
    assert peaks[2] < 0.8e9


def test_weights_that_kernels_lay_out_count_once() -> None:
    network, x = squeezenet1_1(), torch.rand(1, 3, 96, 96)
    lean = network.prepare(memory="1 GB")
    keys = (*lean.inputs, *lean.outputs)
    first = lean.budget.expected((x,), keys)
    lean.backward(lean.forward(x), torch.ones(1, 1000), wrt="inputs")
    weights = sum(tensor.nbytes for name, tensor in network.parameters.items() if name.endswith("weight"))
    only_forward = network.parameters["conv1.weight"].nbytes
    assert first - lean.budget.expected((x,), keys) == 2 * weights - only_forward  # an order for each way
    with pytest.raises(SettingError, match="are too little"):
        squeezenet1_1().prepare(memory=2 * weights).forward(x)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory is read from /proc")
@pytest.mark.parametrize(
    ("name", "side", "memory"),
    [
        ("squeezenet", 768, "1 GB"),
        ("squeezenet", 1280, "1 GB"),
        ("vgg", 384, "1 GB"),
        ("smooth", 384, "200 MB"),
        ("smooth", 512, "170 MB"),
    ],
)
def test_the_peak_is_what_was_expected(name: str, side: int, memory: str) -> None:
    command = [sys.executable, "-m", "tests.preparing.extra_memory", name, str(side), memory]
    with started(command) as process:
        out, error = process.communicate()
    assert not process.returncode, error
    found = json.loads(out)
    assert found["extra"] == pytest.approx(found["expected"], rel=0.15)
    assert found["extra"] <= 1.02 * bytes_named(memory)


def random_pipeline() -> tuple[Network, torch.Tensor]:
    """What is drawn at random stands in front of what is saved."""
    torch.manual_seed(0)
    canvas = pipeline.fourier(40, 40)
    graph = pipeline.pipeline(smooth(), canvas, pipeline.robust(40, 40))
    return pipeline.with_generators(graph, 3), canvas.start(2)


def gradient(lean: Network, x: torch.Tensor) -> torch.Tensor:
    trace = lean.forward(x)
    return lean.backward(trace, {key: trace[key].cos() for key in lean.outputs}, "inputs")[lean.inputs[0]]


def test_what_is_computed_again_draws_the_same_again() -> None:
    graph, x = random_pipeline()
    whole = graph.prepare(memory="1 GB")
    first = gradient(whole, x), gradient(whole, x)
    assert float((first[0] - first[1]).norm() / first[0].norm()) > 0.1
    graph, x = random_pipeline()
    lean = graph.prepare(memory="1 GB")
    assert isinstance(lean, Prepared)
    assert lean.budget is not None
    parts, _, peak = lean.budget.chosen((x,), (*lean.inputs, *lean.outputs))
    lean.budget._chosen = dict.fromkeys(lean.budget._chosen, Choice(parts, tuple(range(len(parts))), peak))
    torch.testing.assert_close((gradient(lean, x), gradient(lean, x)), first)


def test_what_is_tried_beforehand_draws_nothing() -> None:
    graph, x = random_pipeline()
    first = gradient(graph.prepare(), x)
    graph, x = random_pipeline()
    lean = graph.prepare(memory=int(0.9 * expected(graph.prepare(memory="1 GB"), x)))
    before = torch.get_rng_state()
    torch.testing.assert_close(gradient(lean, x), first)
    assert "computed again" in lean.report().splitlines()[-1]
    assert torch.equal(torch.get_rng_state(), before)
