"""Training: batches → forward → objective → backward → update, as an iterator of records.

    for record in fit(network, (x, y), cross_entropy(), epochs=10, rate=0.1):
        print(record.step, record.value)

    last = fit(network, (x, y), cross_entropy(), epochs=10, rate=0.1).finish()

The loop prints, draws and saves nothing but the checkpoint that it is asked for.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import SettingError
from blockprop.saving.files import StrPath
from blockprop.saving.resumable import Keeping
from blockprop.training.augmentation import Augmentation
from blockprop.training.descent import GradientDescent
from blockprop.training.evaluation import LabeledExamples, pair
from blockprop.training.freezing import frozen, parted
from blockprop.training.ranks import ranks_for
from blockprop.training.run import TrainingRun
from blockprop.training.settings import Settings
from blockprop.training.shared_run import SharedRun


def fit(
    network: Network,
    data: LabeledExamples,
    objective: Objective,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    accumulate: int = 1,
    rate: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    optimizer: torch.optim.Optimizer | Callable[[list[Tensor]], torch.optim.Optimizer] | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    schedule: str = "epoch",
    validation: LabeledExamples | None = None,
    patience: int | None = None,
    clip: float | None = None,
    immediate: bool | None = None,
    augment: Sequence[Augmentation] = (),
    average: float | None = None,
    wrt: str | Iterable[str] = "parameters",
    freeze: str | None = None,
    seed: int = 0,
    distributed: bool | None = None,
    sync_batch_norm: bool = False,
    checkpoint: StrPath | None = None,
    checkpoint_seconds: float = 60.0,
    resume: bool = False,
) -> TrainingRun:
    """Minimize the objective over the data by gradient descent on mini-batches, step by step.

    Returns the run: loop over it for a Record of each step, or call `finish()` for the last one alone. `close()` stops
    it early. It warns if it is dropped before its first step.

    data, validation: a Dataset, or (x, y) with one example a row. Each epoch takes the examples in a new order, which
        depends on the seed alone. A last batch of a single example joins the one before it.
    accumulate: make each step from so many batches: the step that a batch of batch_size · accumulate examples gives, in
        the memory of one of batch_size. Batch normalization alone sees each by itself.
    rate, momentum, weight_decay: of the gradient descent W ← W − μ V, see GradientDescent.
    optimizer: another one in its place: any of torch.optim over `network.parameters.values()`, or a function that
        makes one from the list of parameters.
    scheduler: a function that makes a scheduler of torch.optim.lr_scheduler from the optimizer, stepped every
        "epoch" or "step" (`schedule`).
    patience: stop when the validation value has not got better for so many epochs, and go back to the best weights.
    clip: scale the gradients down to this norm if their common norm is larger.
    immediate: update each block as soon as its gradient is known during the backward sweep, so that only one block's
        gradient exists at a time: the same weights, bit for bit, and less memory. By default so for our own gradient
        descent without clipping, unless the network is so small that one update of all is quicker.
    augment: random changes of pictures, such as augmentations("flip,shift:4"); they depend on the seed alone.
    average: the decay of a running average of the weights (0.999, say), see Averages. It is what validation sees and
        what the network has in the end.
    wrt: the parameters to train; the others stay fixed, and nothing is computed for them.
    freeze: a node up to which the network stays as it is, running statistics included: it is computed as in
        evaluation, once for all examples where nothing changes them at random. See `parted`.
    distributed: let the processes of torchrun train one network together, each with its part of every batch (of
        batch_size examples in all); None: if torchrun has started this one. See docs/training.md.
    sync_batch_norm: batch normalization takes the statistics of the whole batch and not of each process's part.
    checkpoint: a file written atomically after every epoch, every `checkpoint_seconds`, at Ctrl-C and at the end.
    resume: go on from the checkpoint if it exists; the weights become bit for bit those of an uninterrupted run.

    Plain networks (Linear, Conv2d of few channels, MaxPool2d, ReLU and its kin; cross-entropy or squared error; our own
    gradient descent) learn by a native kernel: the same numbers to rounding, and many steps in one call for who takes
    `epochs()` or `finish()`. `run.by` says whether it is so, and why not.

    Where a network has convolutions 3 x 3 of stride 1 and 16 channels or more, its blocks compute with native kernels,
    whatever else is asked for here.

    A step of a small dense network runs on one thread, whatever torch is set to: two would wait for each other.

    Raises NotFiniteError with the step and the block at a NaN or infinity, ShapeError for data that do not fit,
    SettingError for settings that make no sense, FormatError for a checkpoint of another network or data set.
    """
    examples = pair(data)
    if not isinstance(objective, Objective):
        raise SettingError(f"expected an objective such as cross_entropy(), came {objective!r}")
    judged = None if validation is None else pair(validation)
    body = unfrozen = None
    if freeze is not None:
        unfrozen = examples, judged, parted(network, freeze).body
        network, examples, judged, body = frozen(network, freeze, examples, judged, bool(augment))
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        scheduler=scheduler,
        schedule=schedule,
        validation=judged,
        patience=patience,
        clip=clip,
        immediate=immediate,
        augment=tuple(augment),
        average=average,
        wrt=wrt if isinstance(wrt, str) else tuple(wrt),
        freeze=freeze,
        body=body,
        unfrozen=unfrozen,
        seed=seed,
        sync_batch_norm=sync_batch_norm,
    )
    if optimizer is None:
        optimizer = GradientDescent(network.parameters.values(), rate, momentum, weight_decay)
    keep = Keeping(checkpoint, resume, checkpoint_seconds, kind="checkpoint")
    parts: tuple[Any, ...] = network, examples, objective, _made(optimizer, network), settings, keep
    ranks = ranks_for(distributed)
    return TrainingRun(*parts) if ranks is None else SharedRun(ranks, *parts)


def _made(
    optimizer: torch.optim.Optimizer | Callable[[list[Tensor]], torch.optim.Optimizer], network: Network
) -> torch.optim.Optimizer:
    """The optimizer, or what the function makes; SettingError for anything else, and for one that cannot be used."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        if not callable(optimizer):
            raise SettingError(
                f"expected an optimizer or a function that makes one (torch.optim.Adam), came {optimizer!r}"
            )
        optimizer = optimizer(list(network.parameters.values()))
    if isinstance(optimizer, torch.optim.LBFGS):
        raise SettingError("LBFGS evaluates the objective several times a step, which training on batches does not do")
    return optimizer
