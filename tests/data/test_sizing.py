"""Arrays of pictures in a network's size: the same numbers, and never more of them at once than a batch has."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from blockprop import cross_entropy, evaluate, fit, read_data
from blockprop.blocks import Flatten, Linear
from blockprop.data.sizing import BATCH, BroughtToSize
from blockprop.engine.network import Network
from blockprop.engine.sequential import Sequential
from blockprop.pictures.scaling import scaled
from blockprop.saving.fingerprints import digest
from blockprop.saving.storage import load, save
from blockprop.training.evaluation import predict
from blockprop.training.measures import measures
from tests.commands.running import Output, run_json

COUNT = 2 * BATCH + 60


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).random((COUNT, 5, 4), np.float32)
    np.savez("pictures.npz", x=x, y=(x.mean((1, 2)) > 0.5).astype(int))
    return Path("pictures.npz")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures are brought to a size and held together, each time."""
    counts: list[int] = []

    def noted(self: BroughtToSize) -> Tensor:
        counts.append(len(self))
        return taken(self)

    taken = BroughtToSize.taken
    monkeypatch.setattr(BroughtToSize, "taken", noted)
    monkeypatch.setattr("blockprop.training.batches.LARGE_DATA", 1000)
    monkeypatch.setattr("blockprop.saving.fingerprints.AT_ONCE", 1000)
    return counts


def _network() -> Network:
    network = Sequential({"flat": Flatten(), "fc": Linear(3 * 8 * 6, 2)})
    network.meta |= {"shape": [3, 8, 6], "classes": ["0", "1"]}
    return network


def _plainly(path: Path) -> tuple[Tensor, Tensor]:
    data = read_data(path).train
    assert data.y is not None
    return scaled(data.x.expand(-1, 3, -1, -1), 8, 6).contiguous(), data.y


def test_they_are_those_that_were_brought_to_it_beforehand(pictures: Path) -> None:
    x, _ = _plainly(pictures)
    data = read_data(pictures, size=(8, 6), channels=3, warn=False).train
    lazy, rows = data.x, torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert isinstance(lazy, BroughtToSize)
    assert (lazy.shape, lazy.dtype, data.shape, digest(lazy)) == (x.shape, x.dtype, (3, 8, 6), digest(x))
    for some, ours in (
        (lazy[:9], x[:9]),
        (lazy[3:500:7], x[3:500:7]),
        (lazy[-1], x[-1]),
        (lazy[rows][:5], x[rows][:5]),
        (lazy[rows > 400][2:], x[rows > 400][2:]),
        (lazy.index_select(0, rows), x[rows]),
        (lazy.detach()[4:6], x[4:6]),
        (lazy[:, 1], x[:, 1]),
        (lazy[rows, 2], x[rows, 2]),
        (lazy.select(1, 2), x.select(1, 2)),
        (lazy.mean((2, 3)), x.mean((2, 3))),
        (torch.cat([lazy, x]), torch.cat([x, x])),
        (lazy.double(), x.double()),
        (data[[5, 1]].x, x[[5, 1]]),
        (data.split(0.3)[0].x[:], read_data(pictures).train.split(0.3)[0].x),
    ):
        ours = scaled(ours.expand(-1, 3, -1, -1), 8, 6) if ours.shape[1:] == (1, 5, 4) else ours
        assert torch.equal(torch.as_tensor(some), ours)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_many_photographs_are_kept_as_bytes(shape: tuple[int, ...], tmp_path: Path) -> None:
    """A quarter of the memory; what is taken of them is as ever, and in the same order of memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH + 40, *shape), np.uint8)
    for i, picture in enumerate(pixels):
        path = tmp_path / "ab"[i % 2] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    order = [*range(0, len(pixels), 2), *range(1, len(pixels), 2)]
    expected = torch.from_numpy(pixels[order]).reshape(len(pixels), 5, 4, -1).permute(0, 3, 1, 2) / 255
    data = read_data(tmp_path, warn=False)
    x = data.train.x
    assert isinstance(x, BroughtToSize)
    assert x.stored.dtype == torch.uint8
    assert (x.dtype, x.shape, data.train.shape) == (torch.float32, expected.shape, expected.shape[1:])
    for some, ours in ((x[:7], expected[:7]), (x[3], expected[3])):
        assert torch.equal(some, ours)
        assert some.is_contiguous()
    assert torch.equal(x.index_select(0, torch.tensor([9, 2])), expected[[9, 2]])
    assert np.array_equal(x.numpy(), expected.numpy())
    assert x[:2].tolist() == expected[:2].tolist()
    assert x.tolist() == expected.tolist()
    train, test = data.train.split(0.4)
    assert all(torch.as_tensor(part.x[:]).dtype == torch.float32 for part in (train, test))
    few = read_data(tmp_path, test_fraction=0.4, warn=False)
    assert not isinstance(few.test.x, BroughtToSize)
    assert few.test.x.is_contiguous()


def test_predict_evaluate_and_measures_take_a_batch_at_a_time(pictures: Path, at_once: list[int]) -> None:
    x, y = _plainly(pictures)
    network, data = _network(), read_data(pictures, size=(8, 6), channels=3, warn=False).train
    assert torch.equal(predict(network, data.x, 50), predict(network, x, 50))
    assert evaluate(network, data, cross_entropy(), 50) == evaluate(network, (x, y), cross_entropy(), 50)
    assert measures(network, data, batch_size=50).values == measures(network, (x, y), batch_size=50).values
    assert max(at_once) == 50


def test_training_takes_a_batch_at_a_time(pictures: Path, at_once: list[int]) -> None:
    rest, part = read_data(pictures, size=(8, 6), channels=3, warn=False).train.split(0.1, 1)
    plain_rest, plain_part = (
        (scaled(p.x.expand(-1, 3, -1, -1), 8, 6), p.y) for p in read_data(pictures).train.split(0.1, 1)
    )
    lazy = _network()
    plain = lazy.copy()
    fit(lazy, rest, cross_entropy(), epochs=2, validation=part, checkpoint="lazy.checkpoint").finish()
    fit(plain, plain_rest, cross_entropy(), epochs=2, validation=plain_part).finish()
    assert torch.equal(lazy.state["fc.weight"], plain.state["fc.weight"])
    assert max(at_once) <= 64


def test_the_commands_take_a_batch_at_a_time(pictures: Path, at_once: list[int], capsys: Output) -> None:
    save(_network(), "net.safetensors")
    assert len(run_json(capsys, "predict", "net.safetensors", str(pictures))["predictions"]) == COUNT
    assert run_json(capsys, "evaluate", "net.safetensors", str(pictures), "--report", "page")["examples"] == COUNT
    settings = ("--size", "60", "--epochs", "1", "-n", "mlp:3", "--report", "page")
    run_json(capsys, "train", str(pictures), "-o", "new.safetensors", *settings)
    assert load("new.safetensors").meta["shape"] == [1, 60, 60]
    assert max(at_once) <= BATCH
