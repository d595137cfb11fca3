"""What several processes train together: torchrun starts this file, and each of them writes what it has got.

torchrun … together.py FOLDER
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from blockprop.blocks import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, ReLU
from blockprop.engine.network import Network
from blockprop.engine.objectives import cross_entropy
from blockprop.engine.sequential import Sequential
from blockprop.errors import BlockpropError
from blockprop.training import ranks
from blockprop.training.augmentation import augmentations
from blockprop.training.fit import fit
from tests.training.examples import data, net, noisy_net

EPOCHS = 15
"""Of 7 batches: 105 steps. The last batch has two examples, so that of four processes some have none."""
VALIDATED = {"momentum": 0.9, "validation": data(600, 3), "patience": 4}
HALF = 8


FEW = ("stopped early", "dropped", "synchronized")
"""What four processes do, too."""


def dropping_net() -> Network:
    torch.manual_seed(1)
    return Sequential(Linear(6, 16), Dropout(0.3), ReLU(), Linear(16, 3))


def seeing_net() -> Network:
    torch.manual_seed(1)
    return Sequential(Conv2d(1, 4, 3), BatchNorm2d(4), ReLU(), Flatten(), Linear(16, 3))


def pictures() -> tuple[Tensor, Tensor]:
    return torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0)), data()[1]


CASES: dict[str, tuple[Callable[[], Network], dict[str, Any]]] = {
    "plain": (net, {"momentum": 0.9}),
    "stopped early": (net, VALIDATED | {"rate": 0.05, "epochs": 60}),
    "immediate": (net, {"immediate": True, "weight_decay": 0.01}),
    "clipped Adam, averaged": (net, {"optimizer": torch.optim.Adam, "clip": 0.1, "average": 0.9}),
    "accumulated, of weighted classes": (net, {"batch_size": 4, "accumulate": 2, "weighted": True}),
    "dropped": (dropping_net, {}),
    "synchronized": (noisy_net, {"sync_batch_norm": True}),
    "pictures": (seeing_net, {"sync_batch_norm": True, "augment": augmentations("flip,shift:1,zoom:0.1")}),
}


def trained(name: str, **more: Any) -> dict[str, Tensor]:
    """The network's numbers after training, and those of the last record."""
    make, settings = CASES[name]
    settings = {"epochs": EPOCHS, "batch_size": 8, "rate": 0.1} | settings | more
    objective = cross_entropy(torch.tensor([1.0, 5.0, 0.2]) if settings.pop("weighted", False) else None)
    network = make()
    last = fit(network, pictures() if name == "pictures" else data(), objective, **settings).finish()
    values = [last.step, last.value, last.training_value, last.validation_value or 0, last.validation_accuracy or 0]
    return network.state | {"record": torch.tensor(values, dtype=torch.float64)}


def main(folder: Path) -> None:
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    found = {
        f"{name}/{key}": tensor for name in (CASES if count == 2 else FEW) for key, tensor in trained(name).items()
    }
    found |= {f"again/{key}": tensor for key, tensor in trained(FEW[0]).items()}
    own = noisy_net()
    fit(own, data(), cross_entropy(), epochs=2, batch_size=8).finish()
    found |= {f"own statistics/{key}": tensor for key, tensor in own.state.items()}
    kept = folder / "half.safetensors"
    if count == 2:
        trained("synchronized", epochs=HALF, checkpoint=kept)
    else:
        found |= {f"resumed/{key}": t for key, t in trained("synchronized", checkpoint=kept, resume=True).items()}
    refusals = [refused(data(seed=rank)), refused(data(), epochs=1 + rank), refused(data(), batch_size=count - 1)]
    x, y = data()
    x[30] = torch.nan
    refusals.append(refused((x, y)))
    dist.init_process_group("gloo")
    found |= {f"in a group that was there/{key}": tensor for key, tensor in trained(FEW[0]).items()}
    dist.destroy_process_group()  # it is there still
    save_file({name: tensor.clone() for name, tensor in found.items()}, folder / f"{count}_{rank}.safetensors")
    (folder / f"{count}_{rank}.txt").write_text("\n".join(refusals))


def refused(examples: tuple[Tensor, Tensor], **settings: Any) -> str:
    try:
        fit(net(), examples, cross_entropy(), **settings).finish()
    except BlockpropError as error:
        return f"{error.is_told_here} {error}"
    return "not refused"


def disturb(folder: Path, number: str) -> None:
    """Rank 1 sends itself a signal in the middle of its work; what all say of it goes to standard error."""
    ranks.STEP_SECONDS = 5.0
    for record in fit(net(), data(), cross_entropy(), epochs=10**6, checkpoint=folder / "run.safetensors"):
        if record.step == 20 and os.environ["RANK"] == "1":
            threading.Timer(0.01, os.kill, (os.getpid(), signal.Signals[number])).start()


if __name__ == "__main__":
    torch.set_num_threads(1)
    disturb(Path(sys.argv[1]), sys.argv[2]) if sys.argv[2:] else main(Path(sys.argv[1]))
