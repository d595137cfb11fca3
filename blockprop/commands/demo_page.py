"""The demonstration: train on handwritten digits, check every gradient, look inside; then see what a network sees."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from blockprop.commands.showcase import showcase
from blockprop.data.dataset import Dataset
from blockprop.data.reading import read_data
from blockprop.engine.check import check_network
from blockprop.engine.objectives import cross_entropy
from blockprop.networks.build import build_network
from blockprop.reports.page import page
from blockprop.reports.sections import check_section, sections
from blockprop.saving.files import write_file
from blockprop.saving.storage import save
from blockprop.training.evaluation import evaluate
from blockprop.training.fit import fit
from blockprop.training.run import Record

NETWORK = "mlp:64"
SETTINGS: dict[str, Any] = {"epochs": 40, "batch_size": 32, "rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4}
HELD_OUT = 1 / 3
CHECKED_EXAMPLES = 8

Watch = Callable[[Iterable[Record]], Iterable[Record]]


class Result(NamedTuple):
    """What the demonstration found, and where its page lies."""

    accuracy: float
    worst_gradient_error: float
    gradients_right: bool
    seconds: float
    report: str
    network: str
    training_examples: int
    test_examples: int


def held_out_third(data: Dataset) -> tuple[Dataset, Dataset]:
    """(training part, test part): always the same third is held out, whatever the seed of the run."""
    return data.split(HELD_OUT, seed=0)


def run_demo(
    folder: Path,
    seed: int = 0,
    device: str = "cpu",
    watch: Watch = lambda records: records,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run the demonstration and write folder/index.html and folder/network.safetensors.

    watch: wraps the training records (a progress bar); say: is told what happens now.
    Raises FormatError if the folder cannot be written.
    """
    started = time.perf_counter()
    train, test = held_out_third(read_data("digits").train)
    network = build_network(NETWORK, train.shape, train.output_count, seed).to(device)
    network.meta |= {"classes": list(train.classes or ()), "data": train.name}
    records = list(watch(fit(network, train, cross_entropy(), seed=seed, validation=test, **SETTINGS)))
    say("Checking every gradient against finite differences")
    x, y = train.x[:CHECKED_EXAMPLES], train.y[:CHECKED_EXAMPLES] if train.y is not None else None
    check = check_network(network, x, objective=cross_entropy(), target=y, every_element=True)
    accuracy = evaluate(network, test, cross_entropy()).accuracy or 0.0
    note = "The held-out digits only validate: nothing is chosen by them."
    told = [*sections(network, records, test, cross_entropy(), note=note), check_section(check)]
    told += showcase(say, seed)
    facts = {
        "right on digits never seen": f"{accuracy:.1%}",
        "worst gradient error": f"{check.error:.1e}",
        "gradients checked": f"{sum(c.elements for c in check.comparisons):,}",
        "training steps": f"{len(records):,}",
        "training time": f"{records[-1].seconds:.1f} s",
    }
    summary = (
        f"A network of {len(network.nodes)} blocks learned {len(train)} handwritten digits by back-propagation; "
        f"{len(test)} others were held out to test it. Then a second network, which knows ten kinds of things, shows "
        "what it sees in photographs, and what it has in mind."
    )
    save(network, folder / "network.safetensors")
    write_file(folder / "index.html", page("blockprop: learning and seeing", told, facts, summary))
    return Result(
        accuracy=accuracy,
        worst_gradient_error=check.error,
        gradients_right=check.passed,
        seconds=time.perf_counter() - started,
        report=str((folder / "index.html").resolve()),
        network=str((folder / "network.safetensors").resolve()),
        training_examples=len(train),
        test_examples=len(test),
    )
