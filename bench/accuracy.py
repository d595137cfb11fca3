"""Test accuracy on MNIST and Fashion-MNIST, trained with `fit`. The test part chooses nothing: it is looked at once.

Usage: python bench/accuracy.py [mnist|fashion|…]   The data are looked for in ../shared/data/datasets.
"""

import sys
import time

import torch
from reporting import DATA, machine, table, write_section

from blockprop import build_network, cross_entropy, evaluate, fit, read_data
from blockprop.training.batches import batch_sizes

RUNS = {
    "mnist": ("mnist.npz", "lenet", 12, 64, {"rate": 0.03, "momentum": 0.9, "weight_decay": 5e-4}, 0.989),
    "fashion": ("fashion_mnist.npz", "cnn", 5, 64, {"rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}, 0.91),
}
"""data file, network, epochs, batch size, settings of the descent, wanted accuracy"""


def run(name: str) -> list[str]:
    file, spec, epochs, batch_size, settings, wanted = RUNS[name]
    data = read_data(DATA / file)
    assert data.test is not None
    network = build_network(spec, data.train.shape, data.train.output_count, seed=0)
    steps = epochs * len(batch_sizes(len(data.train), batch_size))
    start = time.perf_counter()
    for record in fit(
        network,
        data.train,
        cross_entropy(),
        epochs=epochs,
        batch_size=batch_size,
        scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        schedule="step",
        **settings,
    ):
        if record.step % 200 == 0:
            print(
                f"{name} epoch {record.epoch} step {record.step}/{record.steps} loss {record.value:.4f}",
                end="\r",
                file=sys.stderr,
            )
    seconds = time.perf_counter() - start
    accuracy = evaluate(network, data.test, cross_entropy()).accuracy
    parameters = sum(p.numel() for p in network.parameters.values())
    row = [file, f"{spec}, {parameters:,} parameters", str(epochs), str(batch_size), f"{seconds:.0f} s"]
    return [*row, f"{accuracy:.2%}", f"{wanted:.1%}"]


def main() -> None:
    rows = [run(name) for name in sys.argv[1:] or RUNS]
    heads = ["data", "network", "epochs", "batch", "training time", "right on the test part", "wanted"]
    text = f"""## Accuracy

By `bench/accuracy.py`, on {machine()}: gradient descent
with momentum 0.9, weight decay and a cosine rate, seed 0, no augmentation, all 60,000 training pictures; the test part
is looked at once, at the end.

{table(heads, rows)}
"""
    write_section("accuracy", text)


if __name__ == "__main__":
    main()
